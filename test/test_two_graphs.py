"""Second launches in the domain of a graph that runs: each is refused, and the first hears nothing of it.

``RLT_ROS_TWO_GRAPHS=10`` repeats it with whole graphs, in both orders, and prints how long each refusal took.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from own_graph import PATIENCE, graph

from rlt_ros.bringup import MISCONFIGURED
from rlt_ros.middleware.messages import Clock, EpisodeState, RLState
from rlt_ros.middleware.presence import nodes_named, publishers_of
from rlt_ros.ros import qos

__all__ = ["graph"]

ROOT = Path(__file__).resolve().parents[1]
REPEATS = int(os.environ.get("RLT_ROS_TWO_GRAPHS", "0"))
LONG = 240.0  # s for whole graphs to start on a busy computer


class Launch:
    """A ``rlt-ros launch`` in a process of its own."""

    def __init__(self, folder: Path, *words: str) -> None:
        self.started = time.monotonic()
        program = [sys.executable, "-m", "rlt_ros.cli.main", "launch", *words, "--out", str(folder)]
        with (folder.with_suffix(".log")).open("wb") as log:
            self.process = subprocess.Popen(
                program,
                stdout=log,
                stderr=log,
                cwd=ROOT,
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
            )
        self.log = folder.with_suffix(".log")

    def refused(self) -> tuple[str, float]:
        """Output of a launch that ended by itself with status 2, and its duration in s."""
        assert self.process.wait(PATIENCE) == MISCONFIGURED, self.log.read_text()
        return self.log.read_text().strip(), time.monotonic() - self.started

    def close(self) -> None:
        """Interrupt it and wait for its end."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


@pytest.fixture
def launch(tmp_path: Path) -> Iterator[Callable[..., Launch]]:
    launches: list[Launch] = []

    def start(*words: str) -> Launch:
        launches.append(Launch(tmp_path / f"out{len(launches)}", *words))
        return launches[-1]

    yield start
    for one in launches:
        one.close()


class Witness:
    """Messages of the first graph, as any participant of the domain receives them."""

    def __init__(self, graph: Any) -> None:
        self.graph, self.node = graph, graph.node("witness")
        self.times: list[int] = []
        self.runs: set[str] = set()
        self.states = 0
        self.node.create_subscription(Clock, "/clock", self._on_clock, qos.CLOCK)
        self.node.create_subscription(EpisodeState, "rlt/episode_state", self._on_own, qos.EPISODE_STATE)
        self.node.create_subscription(RLState, "rlt/rl_state", self._on_state, qos.RL_STATE)

    def _on_clock(self, message: Any) -> None:
        self.times.append(message.clock.sec * 1_000_000_000 + message.clock.nanosec)

    def _on_own(self, message: Any) -> None:
        self.runs.add(message.run_id)

    def _on_state(self, message: Any) -> None:
        self.states += 1
        self._on_own(message)

    def begins(self) -> None:
        """An episode machine that rests, which a simulator alone shows its time to."""
        rests = self.node.create_publisher(EpisodeState, "rlt/episode_state", qos.EPISODE_STATE)
        rests.publish(EpisodeState())

    def sees_one_graph(self) -> None:
        """One clock that never goes back, and at most one run."""
        heard = len(self.times)
        self.graph.until(lambda: len(self.times) > heard, what="the clock goes on")
        assert self.times == sorted(self.times)
        assert len(publishers_of(self.node, "/clock")) == 1
        assert len(self.runs) <= 1


def attempt(launch: Callable[..., Launch], witness: Witness, tmp_path: Path, *words: str) -> None:
    second = launch(*words)
    witness.graph.until(lambda: second.process.poll() is not None, what="the second ends")
    text, seconds = second.refused()
    print(f"{' '.join(words)}: refused after {seconds:.1f} s: {text}")
    pid, host = re.search(r"/\w+_node \(process (\d+) on (\S+)\)", text).groups()  # type: ignore[union-attr]
    assert host == os.uname().nodename and Path(f"/proc/{pid}").exists()
    assert text.startswith("error: another graph is in ROS_DOMAIN_ID") and "\n" not in text
    assert not second.log.with_suffix("").exists(), "nothing is left behind"
    witness.sees_one_graph()


@pytest.mark.parametrize("mode", ["sim", "collect"])
def test_a_second_launch_next_to_a_simulator_is_refused(
    graph: Any, launch: Callable[..., Launch], tmp_path: Path, mode: str
) -> None:
    witness = Witness(graph)
    witness.begins()
    launch("sim")
    graph.until(lambda: witness.times, what="the first is there")
    attempt(launch, witness, tmp_path, mode)


@pytest.mark.skipif(not REPEATS, reason="whole graphs: RLT_ROS_TWO_GRAPHS=10 repeats it ten times")
@pytest.mark.parametrize(
    ("first", "seconds"),
    [
        (("sim",), (("collect",), ("train",), ("sim",))),
        (("collect",), (("sim",), ("collect",), ("monitor",))),
    ],
    ids=["sim first", "collect first"],
)
def test_whole_graphs(
    graph: Any, launch: Callable[..., Launch], tmp_path: Path, first: tuple[str, ...], seconds: Any
) -> None:
    witness = Witness(graph)
    if first == ("sim",):
        witness.begins()
    one = launch(*first)
    end = time.monotonic() + LONG
    while not (witness.states if first == ("collect",) else witness.times):
        assert time.monotonic() < end and one.process.poll() is None, one.log.read_text()
        graph.executor.spin_once(timeout_sec=0.05)
    for index in range(REPEATS):
        attempt(launch, witness, tmp_path, *seconds[index % len(seconds)])
    states = witness.states
    if first == ("collect",):
        graph.until(lambda: witness.states > states, what="the first goes on")
    assert one.process.poll() is None
    assert not nodes_named(witness.node, "/lookout") and "another graph" not in one.log.read_text()
    print(
        f"{' '.join(first)}: {REPEATS} refused; {witness.states} states of {len(witness.runs)} run(s) heard"
    )
