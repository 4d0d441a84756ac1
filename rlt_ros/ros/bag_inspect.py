"""Content of a bag, and the ways to make rows of it for a robot."""

from __future__ import annotations

from collections import Counter
from typing import Any

from rlt_ros.bags.bag_files import Bag
from rlt_ros.replay.stream import EpisodeOutcome, EpisodeState, Phase
from rlt_ros.robots.profile import RobotProfile
from rlt_ros.ros import bag_messages as messages
from rlt_ros.ros.bag_messages import ReadMode
from rlt_ros.ros.conversions import read_episode, read_lineage

_REMEDIES = {
    ReadMode.RECORDED: "record with `record:=true`",
    ReadMode.COMPUTED: "record with `record:=true` and `pictures` on",
    ReadMode.SAMPLED: "set these topics in a profile of the robot (`--robot`), or its namespace (`--namespace`)",
}


def inspect(bag: Bag, profile: RobotProfile, namespaces: list[str]) -> dict[str, Any]:
    """Topics, episodes and read modes of a bag.

    Args:
        bag: bag to inspect.
        profile: robot profile.
        namespaces: namespaces of the robots; default: those with topics of this package.
    """
    names = namespaces or messages.namespaces(bag) or [""]
    seconds = bag.seconds
    return {
        "bag": str(bag.path),
        "seconds": seconds,
        "messages": sum(topic.count for topic in bag.topics.values()),
        "topics": [
            {
                "topic": topic.name,
                "type": topic.type,
                "messages": topic.count,
                "hz": topic.count / seconds if seconds else None,
            }
            for topic in sorted(bag.topics.values(), key=lambda one: one.name)
        ],
        "robots": [_robot(bag, profile, name) for name in names],
        "damaged": list(bag.faults),
    }


def _robot(bag: Bag, profile: RobotProfile, namespace: str) -> dict[str, Any]:
    ways = []
    for way in ReadMode:
        lacks = messages.missing_topics(bag, messages.required_topics(way, bag, profile, namespace))
        ways.append(
            {"way": way.value, "open": not lacks, "lacks": lacks, "remedy": _REMEDIES[way] if lacks else ""}
        )
    state = next(messages.readable(bag, messages.own_topics(namespace, messages.STATE)), None)
    lineage = None if state is None else read_lineage(state.lineage)
    return {
        "namespace": namespace,
        "episodes": _episodes(bag, namespace),
        "vla": lineage.vla if lineage else None,
        "token": lineage.token if lineage else None,
        "ways": ways,
    }


def _episodes(bag: Bag, namespace: str) -> dict[str, int]:
    """Numbers of started episodes, of their outcomes, and of episodes without rows."""
    topics = messages.own_topics(namespace, messages.EPISODE)
    begun, ends = set[int](), dict[int, EpisodeState]()
    if messages.missing_topics(bag, topics):
        return {"begun": 0}
    for message in messages.readable(bag, topics):
        try:
            state = read_episode(message)
        except ValueError:
            continue
        if state.episode:
            begun.add(state.episode)
        if state.phase is Phase.DONE:
            ends[state.episode] = state
    outcomes = Counter(state.outcome for state in ends.values())
    return {
        "begun": len(begun),
        "without_end": len(begun - set(ends)),
        "evaluations": sum(state.eval for state in ends.values()),
        "withdrawn": sum(state.discarded for state in ends.values()),
        **{
            outcome.name.lower(): outcomes[outcome]
            for outcome in EpisodeOutcome
            if outcome is not EpisodeOutcome.NONE
        },
    }
