"""E-stop pressed and released by one message each, with a real executor next to the episodes."""

from __future__ import annotations

import subprocess
import sys
from array import array
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from own_graph import PATIENCE

from rlt_ros.middleware.messages import (
    ActionChunk,
    Bool,
    DiagnosticArray,
    EpisodeEvent,
    EpisodeState,
    JointState,
    Observation,
)
from rlt_ros.robots.profile import load_profile
from rlt_ros.ros import qos
from rlt_ros.ros.conversions import to_header

PROFILE = load_profile("agibot_g1_geniesim")
HERE = Path(__file__).resolve().parent


class Others:
    """Robot, perception, inference and operator."""

    def __init__(self, graph: Any) -> None:
        self.graph, self.states, self.stops = graph, [], []
        self._values: dict[str, str] = {}
        node = self.node = graph.node("others")
        node.create_subscription(EpisodeState, "rlt/episode_state", self.states.append, qos.EPISODE_STATE)
        node.create_subscription(Bool, "rlt/e_stop_state", self._on_e_stop_state, qos.E_STOP)
        node.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, qos.DIAGNOSTICS)
        node.create_publisher(Observation, "rlt/observation", qos.OBSERVATION)
        node.create_publisher(ActionChunk, "rlt/action_chunk", qos.ACTION_CHUNK)
        self._events = node.create_publisher(EpisodeEvent, "rlt/episode_event", qos.EPISODE_EVENT)
        self._joints = node.create_publisher(JointState, "joint_states", qos.SENSOR_RELIABLE)
        node.create_timer(1.0 / PROFILE.control_hz, self._move)

    @property
    def waits_for(self) -> str:
        """Input without which no episode begins."""
        return self._values.get("waits_for", "")

    def start(self) -> None:
        """Publish START."""
        self._events.publish(EpisodeEvent(event=EpisodeEvent.START, origin="operator"))

    def begins(self, episode: int) -> None:
        """Wait until an episode begins."""
        self.graph.until(
            lambda: any((s.phase, s.episode) == (EpisodeState.PHASE_RESETTING, episode) for s in self.states),
            what=f"episode {episode} begins",
        )

    def ends(self, episode: int) -> None:
        """Wait until an episode is aborted."""
        self.graph.until(
            lambda: any(
                (s.outcome, s.episode) == (EpisodeState.OUTCOME_ABORTED, episode) for s in self.states
            ),
            what=f"episode {episode} is aborted",
        )

    def _move(self) -> None:
        now = self.node.get_clock().now().nanoseconds
        zeros = array("d", [0.0] * PROFILE.dim)
        joints = list(PROFILE.joints)
        self._joints.publish(JointState(header=to_header(now), name=joints, position=zeros, velocity=zeros))

    def _on_e_stop_state(self, message: Any) -> None:
        self.stops.append(message.data)

    def _on_diagnostics(self, message: Any) -> None:
        for status in message.status:
            if status.name == "/episode_node: episode":
                self._values = {value.key: value.value for value in status.values}


def press(pressed: bool) -> None:
    word = str(pressed).lower()
    subprocess.run([sys.executable, str(HERE / "one_press.py"), word], check=True, timeout=PATIENCE)


@pytest.mark.parametrize("auto_start", [True, False])
def test_one_press_reaches_every_node_and_one_step_continues_after_the_release(
    graph: Any, start_node: Callable[..., Any], tmp_path: Path, auto_start: bool
) -> None:
    others = Others(graph)
    start_node("executor_node", discovery_time=0.2)
    node = start_node("episode_node", out=str(tmp_path), plan=["train:5"], auto_start=auto_start)
    if not auto_start:
        graph.until(lambda: others.waits_for == "START")
        others.start()
    for episode in (1, 2):
        others.begins(episode)
        press(True)
        others.ends(episode)
        graph.until(lambda: others.stops[-1:] == [True], what="the executor is stopped")
        graph.until(lambda: others.waits_for == "the release of the e-stop")
        press(False)
        graph.until(lambda: others.stops[-1:] == [False], what="the executor is released")
        if not auto_start:
            graph.until(lambda: "e-stop released; START" in node.log or others.waits_for == "START")
            others.start()
    others.begins(3)
    assert others.stops == [True, False, True, False]
