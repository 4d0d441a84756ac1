"""Bags contain the sent bytes, and open."""

from __future__ import annotations

import signal
from array import array
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rosbags.interfaces import QosDurability, QosReliability
from rosbags.rosbag2 import Reader

from rlt_ros.middleware import deserialize_message
from rlt_ros.middleware.messages import DiagnosticArray, EpisodeState, Observation, PolicyUpdate
from rlt_ros.nodes.record_node import _recorded_topics
from rlt_ros.robots.profile import load_profile
from rlt_ros.ros import qos
from rlt_ros.ros.settings import RecordConfig


@pytest.fixture
def talker(graph: Any) -> Any:
    node = graph.node("talker")
    node.states = node.create_publisher(EpisodeState, "arm/rlt/episode_state", qos.EPISODE_STATE)
    node.policies = node.create_publisher(PolicyUpdate, "rlt/policy_update", qos.POLICY_UPDATE)
    node.observations = node.create_publisher(Observation, "arm/rlt/observation", qos.OBSERVATION)
    return node


def test_names_in_a_bag_are_absolute() -> None:
    profile = load_profile("agibot_g1_geniesim")
    for robots in (("",), ("left", "right")):
        topics = [topic for _, topic, _ in _recorded_topics(profile, RecordConfig(robots=robots))]
        assert all(topic.startswith("/") for topic in topics)
        assert len(set(topics)) == len(topics)


def contents(bag: Path) -> dict[str, list[Any]]:
    types = {"/arm/rlt/episode_state": EpisodeState, "/rlt/policy_update": PolicyUpdate}
    found: dict[str, list[Any]] = {name: [] for name in types}
    with Reader(bag) as reader:
        for connection, _, data in reader.messages():
            if connection.topic in types:
                found[connection.topic].append(deserialize_message(bytes(data), types[connection.topic]))
    return found


@pytest.fixture
def recorded(talker: Any) -> list[int]:
    """Number of written messages other than diagnostics, as reported by the recorder."""
    counts: list[int] = []

    def note(array: Any) -> None:
        for status in array.status:
            if status.name == "/record_node: bag":
                counts.append(next(int(pair.value) for pair in status.values if pair.key == "messages"))

    talker.create_subscription(DiagnosticArray, "/diagnostics", note, qos.DIAGNOSTICS)
    return counts


def test_what_was_sent_is_in_the_bag(
    graph: Any, talker: Any, recorded: list[int], start_node: Callable[..., Any], tmp_path: Path
) -> None:
    sent = [EpisodeState(episode=n, phase=1, task="charger") for n in (1, 2, 3)]
    policy = PolicyUpdate(version=3, data=array("B", range(256)))
    talker.policies.publish(policy)
    for run in ("bag", "bag_1"):
        recorded.clear()
        process = start_node("record_node", out=str(tmp_path), robots=["arm"], pictures=False)
        graph.until(lambda: talker.states.get_subscription_count() == 1)
        for state in sent:
            talker.states.publish(state)
        graph.until(lambda: recorded and recorded[-1] >= 4, what="the recorder has taken everything")
        assert talker.observations.get_subscription_count() == 0
        assert process.end() == 0
        found = contents(tmp_path / run)
        assert found["/arm/rlt/episode_state"][-3:] == sent
        assert found["/rlt/policy_update"] == [policy]
        graph.until(lambda: not talker.states.get_subscription_count())


def test_latched_topics_are_latched_in_the_bag(
    graph: Any, recorded: list[int], start_node: Callable[..., Any], tmp_path: Path
) -> None:
    process = start_node("record_node", out=str(tmp_path), pictures=True)
    graph.until(lambda: recorded, what="the recorder's diagnostics")
    assert process.end(signal.SIGINT) == 0
    with Reader(tmp_path / "bag") as reader:
        offered = {c.topic: c.ext.offered_qos_profiles for c in reader.connections}
    for topic, durability, reliability in (
        ("/rlt/episode_state", QosDurability.TRANSIENT_LOCAL, QosReliability.RELIABLE),
        ("/rlt/executed_step", QosDurability.VOLATILE, QosReliability.RELIABLE),
        ("/joint_states", QosDurability.VOLATILE, QosReliability.RELIABLE),
    ):
        (quality,) = offered[topic]
        assert (quality.durability, quality.reliability) == (durability, reliability)
