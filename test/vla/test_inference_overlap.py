"""The inference of an arm that does not wait at chunk borders: when states come, and what moment they are of."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from inference_robot import HORIZON, JOINTS, PERIOD, Robot, StampEncoder, chunks, states

from rlt_ros.acting.chunk_server import Output
from rlt_ros.replay.stream import ActionChunk, EpisodeOutcome, Phase, StateRecord
from rlt_ros.robots.action_space import ActionSpace


def test_where_the_arm_does_not_wait_the_chunk_comes_first_and_states_later() -> None:
    robot = Robot()
    robot.episode(Phase.CRITICAL)
    robot.sees(0)
    robot.asks(0, overlap=True)
    robot.executes(0, 1)
    robot.sees(2)
    output = robot.asks(4, at=2, overlap=True)
    assert [chunk.stamp for chunk in chunks(output)] == [2 * PERIOD] and states(output) == []
    robot.executes(2, 3, 4)
    # The observation of step 4 has not arrived.
    assert states(robot.inference.work()) == [0, 2]
    robot.sees(4, 6)
    robot.executes(5, 6)
    # The next request is near, and shall not wait.
    assert robot.inference.work() == []
    assert states(robot.asks(8, at=6, overlap=True)) == []
    assert states(robot.inference.work()) == [4, 6]


def test_the_picture_is_of_the_moment_that_the_chunk_was_asked_for_at() -> None:
    robot = Robot()
    robot.episode(Phase.CRITICAL)
    robot.sees(0)
    robot.asks(0, overlap=True)
    robot.executes(*range(3))
    # New enough, but were it taken, pictures would be of another age in every chunk.
    robot.sees(1)
    assert robot.asks(4, at=2, overlap=True) == []
    robot.executes(3)
    robot.sees(3)
    assert [chunk.stamp for chunk in chunks(robot.inference.work())] == [3 * PERIOD]


def moving(*, last: int, until: int, expected: float = 0.9) -> tuple[Robot, ActionChunk]:
    """A robot whose second chunk, for step 4, was asked for at step ``last`` and is made after step 3.

    It stands at 0.01 rad times the step.
    """
    robot = Robot()
    robot.episode(Phase.CRITICAL)
    robot.sees(0)
    robot.asks(0, overlap=True)
    robot.sees(*range(1, last + 1))
    robot.executes(*range(4))
    (chunk,) = chunks(robot.asks(4, at=last, overlap=True, expected=[expected] * JOINTS))
    robot.sees(*range(last + 1, until))
    robot.executes(*range(4, until))
    return robot, chunk


def plan(chunk: ActionChunk) -> np.ndarray:
    """Joint targets (C, A) rad of the VLA."""
    return StampEncoder.action_space.decode(chunk.anchor.astype(float), chunk.reference.astype(float))


def records(output: list[Output]) -> dict[int, StateRecord]:
    return {one.state.step: one for one in output if isinstance(one, StateRecord)}


@pytest.mark.parametrize("expected", [0.9, 0.3])
@pytest.mark.parametrize(("last", "rows"), [(3, [1, 2, 3, 4]), (2, [2, 3, 4, 5]), (0, [4, 5, 5, 5])])
def test_a_chunk_begins_where_the_arm_will_be_and_follows_the_plan_from_what_was_seen(
    expected: float, last: int, rows: list[int]
) -> None:
    _, chunk = moving(last=last, until=5, expected=expected)
    assert (chunk.step, chunk.stamp) == (4, last * PERIOD)
    np.testing.assert_allclose(chunk.anchor, expected, rtol=1e-6)
    noise = torch.Generator().manual_seed(7)
    _, proposed = (torch.randn(1, HORIZON, JOINTS, generator=noise)[0].numpy() for _ in range(2))
    # A plan that ends too early stays at its end.
    targets = 0.01 * last + proposed[rows] * StampEncoder.action_space.scale
    np.testing.assert_allclose(plan(chunk), targets, atol=1e-5)


def test_states_are_as_far_ahead_of_what_was_seen_as_their_chunk() -> None:
    robot, chunk = moving(last=2, until=9)
    made = records(robot.inference.work())
    assert list(made) == [0, 2, 4, 6, 8]
    assert [round(one.stamp / PERIOD) for one in made.values()] == [0, 2, 2, 4, 6]
    for step, record in made.items():
        np.testing.assert_allclose(record.state.anchor, 0.01 * step, rtol=1e-6)
        np.testing.assert_allclose(record.state.proprio[:JOINTS], 0.01 * step, rtol=1e-6)
        # Measured there; the mean since the observation here.
        velocity = 0.0 if step < 4 else 0.01 / (PERIOD * 1e-9)
        np.testing.assert_allclose(record.state.proprio[JOINTS:], velocity, rtol=1e-5)
        assert record.state.z[0] == record.stamp / PERIOD
    border = made[4].state
    assert (border.z == made[2].state.z).all() and chunk.stamp == made[4].stamp


def test_an_arm_that_waits_for_its_chunk_sees_what_is() -> None:
    robot, _ = moving(last=2, until=9)
    robot.inference.work()
    robot.sees(9)
    # After the end of the plan.
    (chunk,) = chunks(robot.asks(9, overlap=True))
    np.testing.assert_allclose(chunk.anchor, 0.09, rtol=1e-6)
    robot.executes(9, 10, 11, 12)
    robot.sees(10, 11, 12)
    assert records(robot.inference.work())[10].stamp == 10 * PERIOD


def test_the_state_after_a_cut_is_ahead_too() -> None:
    robot, _ = moving(last=2, until=7)
    robot.inference.work()
    robot.sees(7, 8)
    made = records(robot.done(7, EpisodeOutcome.ABORTED))
    assert list(made) == [7] and made[7].stamp == 5 * PERIOD
    np.testing.assert_allclose(made[7].state.anchor, 0.07, rtol=1e-6)


def test_an_expected_position_has_all_joints() -> None:
    robot, _ = moving(last=2, until=5)
    assert chunks(robot.asks(8, overlap=True, expected=[0.5])) == []
    assert robot.dropped[-1][0] == "malformed request"


@pytest.mark.parametrize("turns", [(0, 0, 0), (1, 0, -2)])
def test_what_is_expected_in_another_turn_is_the_same_place(turns: tuple[int, ...]) -> None:
    robot = Robot()
    robot.encoder.action_space = ActionSpace(StampEncoder.action_space.scale, np.array([True, False, True]))
    robot.episode(Phase.CRITICAL)
    robot.sees(0)
    robot.asks(0, overlap=True)
    robot.sees(1, 2, 3)
    robot.executes(*range(4))
    expected = 0.9 + 2 * np.pi * np.array(turns)
    (chunk,) = chunks(robot.asks(4, at=3, overlap=True, expected=expected.tolist()))
    np.testing.assert_allclose(chunk.anchor, 0.9, atol=1e-6)
