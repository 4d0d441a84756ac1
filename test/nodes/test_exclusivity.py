"""Two graphs in one domain: the second is refused before it publishes anything, the first is left alone."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from own_graph import PATIENCE

from rlt_ros.bringup import MISCONFIGURED, Arguments, NodeSpec
from rlt_ros.bringup import graph as nodes_of
from rlt_ros.middleware import Node
from rlt_ros.middleware.messages import Clock, EpisodeState
from rlt_ros.middleware.presence import Presence, nodes_named, publishers_of
from rlt_ros.ros import qos
from rlt_ros.ros.exclusivity import (
    Claim,
    OtherGraphError,
    duplicate_publishers,
    graph_claims,
    join_domain,
    require_exclusive,
)
from rlt_ros.run_id import PREDECESSOR

ROOT = Path(__file__).resolve().parents[2]
HOST = os.uname().nodename
OTHER = """
import sys
from rlt_ros.middleware import Node, init, spin
from rlt_ros.middleware.messages import Clock
init(args=sys.argv)
node = Node("sim_node")
node.create_publisher(Clock, "/clock", 10)
print("ready", flush=True)
spin(node)
"""


@pytest.fixture
def other() -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Starts another process with a node that publishes `/clock`; returns it once it does."""
    processes: list[subprocess.Popen[bytes]] = []

    def start(*arguments: str) -> subprocess.Popen[bytes]:
        one = subprocess.Popen([sys.executable, "-c", OTHER, *arguments], stdout=subprocess.PIPE, cwd=ROOT)
        processes.append(one)
        assert one.stdout is not None and one.stdout.readline() == b"ready\n"
        return one

    yield start
    for one in processes:
        one.kill()
        one.communicate()


def test_an_empty_domain_is_accepted(graph: Any) -> None:
    require_exclusive(lambda _: [Claim("/sim_node", ("/clock",))])


@pytest.mark.parametrize(
    ("claim", "words"),
    [
        (Claim("/sim_node"), "has the name of a node"),
        (Claim("/simulator", ("/clock",)), "publishes /clock"),
    ],
)
def test_another_node_is_named_with_host_and_process(
    graph: Any, other: Any, claim: Claim, words: str
) -> None:
    pid = other().pid
    with pytest.raises(
        OtherGraphError, match=re.escape(f"/sim_node (process {pid} on {HOST}) {words}")
    ) as error:
        require_exclusive(lambda _: [claim])
    assert os.environ["ROS_DOMAIN_ID"] in str(error.value)


def test_other_names_and_namespaces_are_accepted(graph: Any, other: Any) -> None:
    other("--ros-args", "-r", "__ns:=/left", "-r", "/clock:=/left/clock")
    require_exclusive(
        lambda _: [Claim("/sim_node", ("/clock",)), Claim("/right/sim_node", ("/right/clock",))]
    )


def test_a_killed_predecessor_that_the_launcher_names_is_accepted(
    graph: Any, other: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, here = other(), graph.node("here")
    graph.until(lambda: nodes_named(here, "/sim_node"))
    one.kill()
    one.wait()
    monkeypatch.setenv(PREDECESSOR, str(one.pid))
    require_exclusive(lambda _: [Claim("/sim_node", ("/clock",))])
    (dead,) = nodes_named(here, "/sim_node")
    assert dead == Presence("/sim_node", HOST, one.pid) and dead.seems_dead


def test_a_live_node_that_is_named_as_predecessor_is_refused(
    graph: Any, other: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(PREDECESSOR, str(other().pid))
    with pytest.raises(OtherGraphError):
        require_exclusive(lambda _: [Claim("/sim_node")])


def test_two_publishers_are_a_crowd_and_a_dead_one_is_not_counted(graph: Any, other: Any) -> None:
    here = graph.node("here")
    mine = here.create_publisher(Clock, "/clock", qos.CLOCK)
    one = other()
    graph.until(lambda: len(publishers_of(here, "/clock")) == 2)
    assert f"/sim_node (process {one.pid} on {HOST})" in duplicate_publishers(here, ["/clock"])
    assert duplicate_publishers(here, ["/nothing"]) == ""
    one.kill()
    one.wait()
    assert duplicate_publishers(here, ["/clock"]) == ""
    here.destroy_publisher(mine)


def test_the_claims_of_a_graph_follow_namespaces_and_remappings() -> None:
    claims = {
        one.node: one.topics for one in graph_claims(nodes_of("train", Arguments(namespace="left,right")))
    }
    assert claims["/left/sim_node"][0] == "/left/clock" and claims["/right/sim_node"][0] == "/right/clock"
    assert claims["/left/episode_node"] == ("/left/rlt/episode_state",)
    assert claims["/learner_node"] == ()
    shared = set(claims["/left/sim_node"]) & set(claims["/right/sim_node"])
    assert not shared, "the joint states of a profile are relative"


def monitors(namespace: str, rviz: bool) -> list[NodeSpec]:
    return nodes_of("monitor", Arguments(namespace=namespace, rviz=rviz))


def test_rviz_starts_alone_next_to_a_monitor(other: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """Of two robots, one has its monitor: the other gets one, and both get RViz."""
    pid = other("--ros-args", "-r", "__ns:=/left", "-r", "__node:=monitor_node").pid
    started = join_domain(monitors("left,right", rviz=True), watches=True)
    assert [spec.label for spec in started] == ["left/rviz", "right/monitor", "right/rviz"]
    assert f"/left/monitor_node (process {pid} on {HOST}) publishes the views" in capsys.readouterr().err


def test_a_monitor_alone_next_to_a_monitor_is_refused(other: Any) -> None:
    other("--ros-args", "-r", "__node:=monitor_node")
    with pytest.raises(OtherGraphError, match="/monitor_node"):
        join_domain(monitors("", rviz=False), watches=True)


def test_a_graph_next_to_a_monitor_is_refused(other: Any) -> None:
    other("--ros-args", "-r", "__node:=monitor_node")
    with pytest.raises(OtherGraphError, match="Stop that process"):
        join_domain(nodes_of("train", Arguments(rviz=True)))


def test_a_second_monitor_node_is_called_unnecessary(
    graph: Any, other: Any, start_node: Callable[..., Any]
) -> None:
    """``ros2 launch`` starts it next to RViz, and continues without it."""
    other("--ros-args", "-r", "__node:=monitor_node")
    second = start_node("monitor_node")
    assert second.process.wait(PATIENCE) == MISCONFIGURED
    assert "a second one is not needed" in second.log and "Traceback" not in second.log


def test_a_second_node_of_a_name_ends_at_once_and_the_first_hears_nothing_of_it(
    graph: Any, start_node: Callable[..., Any], tmp_path: Path
) -> None:
    """With real nodes: what they would publish is latched, so one that had begun would be heard."""
    here: Node = graph.node("here")
    states: list[Any] = []
    here.create_subscription(EpisodeState, "rlt/episode_state", states.append, qos.EPISODE_STATE)
    first = start_node("episode_node", run_id="first-1-x", out=str(tmp_path / "first"))
    graph.until(lambda: nodes_named(here, "/episode_node"), what="the first")
    second = start_node("episode_node", run_id="second-2-x", out=str(tmp_path / "second"))
    assert second.process.wait(PATIENCE) == MISCONFIGURED
    assert f"/episode_node (process {first.process.pid} on {HOST})" in second.log
    assert first.process.poll() is None
    assert {one.run_id for one in states} <= {"first-1-x"}
    assert first.end(signal.SIGINT) == 0
