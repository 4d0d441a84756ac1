"""Policy files of `config/security`: current, and complete for a graph that runs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from own_graph import graph

sys.path.append(str(Path(__file__).resolve().parents[1] / "tools"))

import make_policy

from rlt_ros.bringup import ORDER
from rlt_ros.nodes.episode_node import EpisodeNode
from rlt_ros.nodes.perception_node import PerceptionNode
from rlt_ros.robots.profile import load_profile, profile_names

__all__ = ["graph"]


def allowed(text: str, node: str, verb: str) -> set[str]:
    (profile,) = (one for one in ElementTree.fromstring(text).iter("profile") if one.get("node") == node)
    return {topic.text or "" for topics in profile.findall("topics") if topics.get(verb) for topic in topics}


def test_the_shipped_policy_is_current() -> None:
    text = make_policy.policy(load_profile(make_policy.ROBOT))
    assert make_policy.POLICY.read_text(encoding="utf-8") == text, "run tools/make_policy.py"


@pytest.mark.parametrize("robot", profile_names())
def test_a_policy_has_every_node_and_the_topics_of_the_robot(robot: str) -> None:
    profile = load_profile(robot)
    text = make_policy.policy(profile, "left")
    root = ElementTree.fromstring(text)
    assert [one.get("path") for one in root.iter("enclave")] == ["/rlt"]
    assert [(one.get("ns"), one.get("node")) for one in root.iter("profile")] == [
        ("/left", name) for name in ORDER
    ]
    commands = {part.command.topic for part in profile.drivers}
    assert commands <= allowed(text, "executor_node", "publish")
    assert {camera.topic for camera in profile.cameras.values()} <= allowed(
        text, "perception_node", "subscribe"
    )


@pytest.mark.parametrize("node", [EpisodeNode, PerceptionNode])
def test_what_a_node_really_publishes_and_subscribes_to_is_allowed(
    graph: Any, node: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    real = graph.add(node())
    text = make_policy.POLICY.read_text(encoding="utf-8")
    for verb, infos in (
        ("publish", real.get_publishers_info_by_topic),
        ("subscribe", real.get_subscriptions_info_by_topic),
    ):
        names = {topic for topic, _ in real.get_topic_names_and_types() if _has(infos(topic), real)}
        policy = {real.resolve_topic_name(topic) for topic in allowed(text, real.get_name(), verb)}
        assert names and names <= policy


def _has(infos: list[Any], node: Any) -> bool:
    return any(info.node_name == node.get_name() for info in infos)
