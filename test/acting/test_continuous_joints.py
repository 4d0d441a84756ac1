"""Joints that turn without end are commanded across the seam of a driver that wraps them."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from control_arm import LIMITS, Arm
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from rlt_ros.replay.stream import Phase
from rlt_ros.robots.action_space import ActionSpace
from rlt_ros.robots.intervention import Intervention, TakeOver
from rlt_ros.robots.joint_tracking import JointTracker
from rlt_ros.robots.profile import load_profile
from rlt_ros.robots.safety import Reference, SafetyFilter
from rlt_ros.robots.turns import TURN

Array = NDArray[np.float64]

KINOVA = load_profile("kinova_gen3")
KINOVA_LIMITS = KINOVA.limits()
HOME = np.array(KINOVA.home)
MS = 1_000_000
TURNING = dataclasses.replace(
    LIMITS, lower=np.full(2, -9.0), upper=np.full(2, 9.0), continuous=np.array([True, False])
)


def wrap(position: Array) -> Array:
    return np.asarray((position + np.pi) % TURN - np.pi)


def test_a_wrist_passes_the_seam_without_reversing() -> None:
    """Joint 7 of the Kinova from 3.10 to 3.40 rad at 0.3 rad/s; the driver reports it in (-π, π]."""
    tracker, filtered = (
        JointTracker(KINOVA.tracked_joints),
        SafetyFilter(KINOVA_LIMITS, 50.0, KINOVA.kinematics()),
    )
    true = HOME.copy()
    true[6] = 3.10
    filtered.reset(true)
    commands = []
    for step in range(400):
        wanted = true.copy()
        wanted[6] = min(3.10 + 0.006 * step, 3.40)
        measured = tracker.update(20 * MS * (step + 1), wrap(true), now=20 * MS * step).positions
        # The first state is in the turn of home.
        true = filtered.filter(wanted, measured)
        commands.append(true[6])
    moves = np.diff(commands)
    assert (moves > -1e-12).all()
    assert moves.max() <= 0.006 + 1e-9
    assert commands[-1] == pytest.approx(3.40)


@settings(max_examples=50, deadline=None)
@given(
    turns=st.lists(st.tuples(*[st.integers(-2, 2)] * 3), min_size=1, max_size=40),
    seed=st.integers(0, 2**32 - 1),
)
def test_a_command_is_the_same_whatever_the_turn_of_target_and_position(
    turns: list[tuple[int, int, int]], seed: int
) -> None:
    random = np.random.default_rng(seed)
    limits = dataclasses.replace(TURNING, acceleration=np.full(2, 5.0), deviation=0.5)
    plain = SafetyFilter(dataclasses.replace(limits, continuous=None), 50.0)
    turning = SafetyFilter(limits, 50.0)
    position = np.array([3.0, 0.5])
    plain.reset(position)
    turning.reset(position)
    for target_turns, position_turns, reference_turns in turns:
        target = position + random.uniform(-0.8, 0.8, 2)
        reference = Reference(target + 0.1, np.full(2, 0.5))
        shift = np.array([TURN, 0.0])
        expected = plain.filter(target, position, reference)
        command = turning.filter(
            target + target_turns * shift,
            position + position_turns * shift,
            Reference(reference.target + reference_turns * shift, reference.unit),
        )
        np.testing.assert_allclose(command, expected, atol=1e-9)
        np.testing.assert_allclose(
            turning.hold(position + position_turns * shift), plain.hold(position), atol=1e-9
        )
        position = position + np.clip(expected - position, -0.02, 0.02)


def test_a_limited_joint_is_not_commanded_modulo_a_turn() -> None:
    filtered = SafetyFilter(TURNING, 50.0)
    filtered.reset(np.zeros(2))
    command = filtered.filter(np.full(2, TURN + 0.01), np.zeros(2))
    np.testing.assert_allclose(command, [0.01, 0.02])


@pytest.mark.parametrize("turns", [-1, 0, 1])
def test_chunks_and_humans_in_another_turn_move_the_arm_the_short_way(turns: int) -> None:
    arm = Arm(TURNING)
    arm.sense((3.1, 0.0))
    arm.phase(Phase.APPROACH)
    arm.later()
    arm.sense((3.1, 0.0))
    arm.tick()
    arm.later()
    anchor = np.array([3.1 + turns * TURN, 0.0], np.float32)
    arm.sense((3.1, 0.0))
    arm.offer(0, anchor=anchor)
    command = arm.tick().command
    assert command is not None
    assert command.target is not None
    np.testing.assert_allclose(command.target, [3.11, 0.01], atol=1e-6)

    human = Intervention(TakeOver.BLENDING, 0.5, np.array([3.13 + turns * TURN, 0.0]), "test", arm.stamp)
    arm.controller.intervention(human, arm.now)
    command = arm.step().command
    assert command is not None
    assert command.target is not None
    assert command.target[0] == pytest.approx(3.12, abs=0.006)


@given(
    anchor=st.floats(-20.0, 20.0),
    deltas=st.lists(st.floats(-3.0, 3.0), min_size=1, max_size=8),
    turns=st.integers(-3, 3),
)
def test_actions_are_the_same_whatever_the_turn_of_their_targets(
    anchor: float, deltas: list[float], turns: int
) -> None:
    space = ActionSpace(np.array([0.02, 0.02]), np.array([True, False]))
    start = np.array([anchor, anchor])
    targets = start + np.array(deltas)[:, None] * np.ones(2)
    shifted = targets + np.array([turns * TURN, 0.0])
    actions = space.encode(start, shifted)
    np.testing.assert_allclose(actions, np.array(deltas)[:, None] / 0.02 * np.ones(2), atol=1e-6)
    np.testing.assert_allclose(space.decode(start, actions), targets, atol=1e-9)
