"""``rlt-ros monitor``: what it makes of messages, and that it finds them."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from rlt_ros.cli.monitor_view import GraphView
from rlt_ros.middleware.messages import (
    ActionChunk,
    DiagnosticArray,
    DiagnosticStatus,
    Duration,
    EpisodeState,
    ExecutedStep,
    LearnerStatus,
    ReplayStatus,
)
from rlt_ros.ros import qos
from rlt_ros.ros.conversions import named

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 60.0  # s


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def done(episode: int, outcome: int, steps: int) -> Any:
    return EpisodeState(
        episode=episode, phase=EpisodeState.PHASE_DONE, outcome=outcome, steps=steps, task="charger"
    )


def text(view: GraphView) -> str:
    console = Console(width=160, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(view.render())
    return console.export_text()


def test_success_rate_and_steps_are_of_finished_episodes() -> None:
    view = GraphView(Clock())
    for episode, outcome, steps in ((1, 1, 60), (2, 2, 200), (2, 2, 200), (3, 1, 80)):
        view.on_episode(done(episode, outcome, steps))
    view.on_episode(EpisodeState(episode=4, phase=EpisodeState.PHASE_CRITICAL, eval=True, task="charger"))
    figures = view.figures()
    assert (figures["finished"], figures["median_steps"]) == (3, 70.0)
    assert figures["success_rate"] == pytest.approx(2 / 3)
    assert (figures["episode"], figures["phase"], figures["eval"]) == (4, "critical", True)


def test_a_withdrawn_episode_does_not_count() -> None:
    view = GraphView(Clock())
    state = done(1, 2, 10)
    state.discarded = True
    view.on_episode(state)
    assert view.figures()["finished"] == 0


def test_who_acts_and_how_fast() -> None:
    clock = Clock()
    view = GraphView(clock)
    for index in range(100):
        clock.now += 0.02
        source = ExecutedStep.SOURCE_HUMAN if index < 25 else ExecutedStep.SOURCE_ACTOR
        view.on_step(ExecutedStep(source=source, limits=int(index == 3)))
    view.on_chunk(ActionChunk(version=7, latency=Duration(nanosec=20_000_000)))
    figures = view.figures()
    assert figures["share"] == {"actor": 0.75, "human": 0.25}
    assert figures["steps_per_second"] == pytest.approx(50, abs=1)
    assert figures["latency_ms"] == pytest.approx(20)
    assert (figures["limited_steps"], figures["policy_version"]) == (1, 7)


def test_problems_and_stale_diagnostics_are_named() -> None:
    clock = Clock()
    view = GraphView(clock)
    good = DiagnosticStatus(level=DiagnosticStatus.OK, name="/perception_node: input")
    bad = DiagnosticStatus(level=DiagnosticStatus.WARN, name="/executor_node: control", message="arm holds")
    view.on_diagnostics(DiagnosticArray(status=[good, bad]))
    assert view.figures()["problems"] == {"/executor_node: control": "arm holds"}
    clock.now += 10
    view.on_diagnostics(DiagnosticArray(status=[bad]))
    assert view.figures()["problems"] == {
        "/executor_node: control": "arm holds",
        "/perception_node: input": "no message for 10 s",
    }
    assert "arm holds" in text(view)


def test_an_empty_graph_is_shown_as_such() -> None:
    assert "no episode node" in text(GraphView(Clock()))


def test_the_command_finds_the_graph(graph: Any) -> None:
    node = graph.node("talker")
    episodes = node.create_publisher(EpisodeState, "arm/rlt/episode_state", qos.EPISODE_STATE)
    learner = node.create_publisher(LearnerStatus, "rlt/learner_status", qos.LEARNER_STATUS)
    replay = node.create_publisher(ReplayStatus, "rlt/replay_status", qos.REPLAY_STATUS)
    episodes.publish(done(1, 1, 50))
    learner.publish(LearnerStatus(state=LearnerStatus.LEARNING, owed=12.0, **named({"q": 0.5})))
    replay.publish(ReplayStatus(rows=345))
    options = ("--namespace", "arm", "--seconds", "2", "--json")
    line = [sys.executable, "-m", "rlt_ros.cli.main", "monitor", *options]
    figures: dict[str, Any] = {}
    end = time.monotonic() + PATIENCE
    while not (figures.get("replay_rows") and figures["learner"] and figures["finished"]):
        assert time.monotonic() < end, f"the command has not seen everything: {figures}"
        found = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE, check=True)
        figures = json.loads(found.stdout.splitlines()[-1])
    assert (figures["success_rate"], figures["replay_rows"], figures["q"]) == (1.0, 345, 0.5)
    assert (figures["learner"], figures["owed"]) == ("learning", 12.0)


def test_without_a_graph_there_is_a_hint_and_status_1() -> None:
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "rlt_ros.cli.main",
            "monitor",
            "--seconds",
            "0.5",
            "--namespace",
            "unused",
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert "no graph of a robot in namespace unused in ROS_DOMAIN_ID" in done.stderr
    assert "rlt-ros launch train" in done.stderr
