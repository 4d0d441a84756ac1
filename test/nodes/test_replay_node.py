"""Rows from topics: the same as those of one process, once, of one lineage, and safe from a kill."""

from __future__ import annotations

import dataclasses
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from statuses import first_with
from stream_source import GAMMA, LINEAGE, SHAPES, Stream, rows, stream

from rlt_ros.middleware import Parameter
from rlt_ros.middleware.messages import EpisodeState, ExecutedStep, ReplayStatus, RLState
from rlt_ros.nodes.replay_node import ReplayNode
from rlt_ros.replay.episode_assembler import episode_offset
from rlt_ros.replay.ring import Replay
from rlt_ros.replay.stream import EpisodeOutcome, StateRecord, StepRecord
from rlt_ros.rlt.transition import Window
from rlt_ros.ros import qos
from rlt_ros.ros.conversions import (
    read_episode,
    read_state,
    read_step,
    write_episode,
    write_state,
    write_step,
)

PARAMETERS: dict[str, Any] = {
    "rlt.chunk": SHAPES.chunk,
    "rlt.gamma": GAMMA,
    "rlt.replay_capacity": 500,
    "rlt.z_storage": "float32",
}


class Robot:
    """Publishers of a robot's nodes, and subscriber of the replay status."""

    def __init__(self, graph: Any, name: str = "") -> None:
        self.graph, self.statuses = graph, list[Any]()
        node = graph.node("robot", namespace=name)
        self.ends = node.create_publisher(EpisodeState, "rlt/episode_state", qos.EPISODE_STATE)
        self._states = node.create_publisher(RLState, "rlt/rl_state", qos.RL_STATE)
        self._steps = node.create_publisher(ExecutedStep, "rlt/executed_step", qos.EXECUTED_STEP)
        node.create_subscription(ReplayStatus, "/rlt/replay_status", self.statuses.append, qos.REPLAY_STATUS)

    def meets(self, nodes: int = 1) -> None:
        """Wait until that many nodes hear it."""
        publishers = (self.ends, self._states, self._steps)
        self.graph.until(
            lambda: all(one.get_subscription_count() >= nodes for one in publishers), what="discovery"
        )

    def says(self, *records: Any) -> None:
        for record in records:
            if isinstance(record, StateRecord):
                self._states.publish(write_state(record))
            elif isinstance(record, StepRecord):
                self._steps.publish(write_step(record))
            else:
                self.ends.publish(write_episode(record))

    def hears(self, **fields: Any) -> Any:
        """First status with these fields; earlier ones are dropped."""
        return first_with(self.graph, self.statuses, "replay status", **fields)


def node(graph: Any, out: Path, **parameters: Any) -> ReplayNode:
    """Replay node in this process."""
    values = {**PARAMETERS, "out": str(out), **parameters}
    overrides = [Parameter(name, value=value) for name, value in values.items()]
    return graph.add(ReplayNode(parameter_overrides=overrides))


def stored(out: Path) -> list[Window]:
    replay = Replay.attach(out / "replay.rlt", SHAPES, lineage=LINEAGE)
    windows = [replay.window(i) for i in range(len(replay))]
    replay.close()
    return windows


def assert_same(found: Sequence[Window], expected: Sequence[Window]) -> None:
    assert [(w.episode, w.step) for w in found] == [(w.episode, w.step) for w in expected]
    for one, other in zip(found, expected, strict=True):
        for field in dataclasses.fields(Window):
            value = getattr(other, field.name)
            if field.name in ("reward", "discount"):
                value = np.float32(value)  # as a row stores them
            np.testing.assert_array_equal(getattr(one, field.name), value, field.name)


def test_rows_equal_those_rebuilt_from_the_recorded_topics(graph: Any, tmp_path: Path) -> None:
    states: list[Any] = []
    steps: list[Any] = []
    ends: list[Any] = []
    recorder = graph.node("recorder")
    recorder.create_subscription(RLState, "rlt/rl_state", states.append, qos.RL_STATE)
    recorder.create_subscription(ExecutedStep, "rlt/executed_step", steps.append, qos.EXECUTED_STEP)
    recorder.create_subscription(EpisodeState, "rlt/episode_state", ends.append, qos.EPISODE_STATE)
    robot = Robot(graph)
    node(graph, tmp_path)
    robot.meets(2)
    outcomes = (
        EpisodeOutcome.SUCCESS,
        EpisodeOutcome.FAILURE,
        EpisodeOutcome.TIMEOUT,
        EpisodeOutcome.ABORTED,
    )
    made = [stream(number, steps=9 + number, outcome=outcome) for number, outcome in enumerate(outcomes, 1)]
    for one in made:
        robot.says(*one.records)
    status = robot.hears(episodes=4)
    graph.until(lambda: len(ends) == 4 and len(steps) == sum(len(one.steps) for one in made))
    rebuilt: list[Window] = []
    for message in ends:
        end = read_episode(message)
        one = Stream(
            [read_state(m, SHAPES) for m in states if m.episode == end.episode],
            [read_step(m, SHAPES.action_dim) for m in steps if m.episode == end.episode],
            end,
        )
        rebuilt += rows(one)
    assert_same(stored(tmp_path), rebuilt)
    assert (status.rows, status.successes, status.failures, *status.last_episodes) == (len(rebuilt), 1, 1, 4)
    assert (status.rejected, status.duplicates, status.capacity) == (0, 0, 500)
    assert status.lineage.stats == LINEAGE.stats and status.path == str(tmp_path / "replay.rlt")
    assert 0 < status.human_share < 1


def test_what_came_twice_or_is_not_to_be_kept_leaves_no_second_row(graph: Any, tmp_path: Path) -> None:
    robot = Robot(graph)
    node(graph, tmp_path)
    robot.meets()
    first = stream(1)
    robot.says(*first.records[:-1], *first.records)
    robot.says(*stream(2, evaluation=True).records, *stream(3, discarded=True).records, first.end)
    robot.says(*stream(4, outcome=EpisodeOutcome.FAILURE).records)
    status = robot.hears(episodes=2)
    assert_same(stored(tmp_path), [*rows(first), *rows(stream(4, outcome=EpisodeOutcome.FAILURE))])
    assert status.duplicates >= 1 and status.rejected == 0


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda state: {"lineage": dataclasses.replace(LINEAGE, vla="other")}, "vla is `other`|vla `other`"),
        (lambda state: {"scale": state.scale * 2}, "`scale` of state 3 of episode 2 has fingerprint"),
    ],
)
def test_states_of_other_parts_are_refused_and_said_why(
    graph: Any, tmp_path: Path, change: Callable[[StateRecord], dict[str, Any]], says: str
) -> None:
    robot = Robot(graph)
    node(graph, tmp_path)
    robot.meets()
    robot.says(*stream(1).records)
    robot.hears(episodes=1)
    foreign = stream(2).states[0]
    robot.says(dataclasses.replace(foreign, **change(foreign)))
    status = robot.hears(rejected=1)
    assert any(part in status.last_rejection for part in says.split("|"))
    assert status.rows == len(rows(stream(1)))


def test_malformed_messages_are_refused_and_said_why(graph: Any, tmp_path: Path) -> None:
    robot = Robot(graph)
    node(graph, tmp_path)
    robot.meets()
    made = stream(1)
    garbled, short = write_state(made.states[1]), write_step(made.steps[0])
    garbled.z = [float("nan")] * SHAPES.z_dim
    short.command = [0.0]
    wrong = write_episode(made.end)
    wrong.phase = 9
    robot.says(made.states[0])
    robot.hears(rows=0)
    for count, (publisher, message, says) in enumerate(
        (
            (robot._states, garbled, "`z` of state of step 5"),
            (robot._steps, short, "`command` holds 1 values"),
            (robot.ends, wrong, "9 is not a valid Phase"),
        ),
        1,
    ):
        publisher.publish(message)
        assert says in robot.hears(rejected=count).last_rejection
    robot.says(*made.records)
    assert robot.hears(episodes=1).rejected == 3  # and the episode is whole


def test_an_episode_that_lacks_something_is_cut_when_its_time_is_over(graph: Any, tmp_path: Path) -> None:
    robot = Robot(graph)
    node(graph, tmp_path, patience=2.0)
    robot.meets()
    made = stream(1, steps=30)
    robot.says(*(r for r in made.records if not (isinstance(r, StepRecord) and r.step == 20)))
    status = robot.hears(successes=1)
    assert "step 20 of 3 to 32 has not arrived" in status.last_rejection
    whole = {w.step: w for w in rows(made)}
    assert_same(stored(tmp_path), [whole[w.step] for w in stored(tmp_path)])


def test_robots_in_two_namespaces_fill_one_replay(graph: Any, tmp_path: Path) -> None:
    left, right = Robot(graph, "left"), Robot(graph, "right")
    node(graph, tmp_path, robots=["left", "right"])
    left.meets()
    right.meets()
    left.says(*stream(1).records)
    assert list(left.hears(episodes=1).last_episodes) == [1, 0]
    right.says(*stream(1).records, *stream(2).records)
    status = right.hears(episodes=3)
    assert dict(zip(status.robots, status.last_episodes, strict=True)) == {"left": 1, "right": 2}
    assert status.duplicates == 0
    expected = [("left", 1), ("right", 1), ("right", 2)]
    made = [rows(stream(number), offset=episode_offset(name)) for name, number in expected]
    assert_same(stored(tmp_path), [row for one in made for row in one])


def test_a_kill_loses_no_row_and_the_next_one_goes_on(
    graph: Any, start_node: Callable[..., Any], tmp_path: Path
) -> None:
    robot = Robot(graph)
    parameters = {**PARAMETERS, "out": str(tmp_path)}
    killed = start_node("replay_node", **parameters)
    robot.meets()
    robot.says(*stream(1).records, *stream(2).records[:-5])
    robot.hears(episodes=1)
    killed.end(signal.SIGKILL)
    assert_same(stored(tmp_path), rows(stream(1)))
    again = start_node("replay_node", **parameters)
    assert list(robot.hears(rows=len(rows(stream(1))), rejected=0).last_episodes) == [1]
    # It hears the ends that were latched, too, and the rest of what was running; neither is a row.
    graph.until(
        lambda: robot._states.get_subscription_count() >= 1 and robot._steps.get_subscription_count() >= 1
    )
    robot.says(*stream(2).records[-5:], *stream(3).records)
    robot.hears(episodes=2)
    assert again.end() == 0
    assert_same(stored(tmp_path), [*rows(stream(1)), *rows(stream(3))])
