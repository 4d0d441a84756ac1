"""Setpoint of the drivers: never further from the arm than the lead, and not sent without a task."""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

import numpy as np
import pytest
from control_arm import HZ, LIMITS, PERIOD, Arm, engaged, record, started

from rlt_ros.acting import authority
from rlt_ros.acting.config import ControlConfig
from rlt_ros.acting.control_step import LEAD_EXCEEDED, RETURN_BLOCKED
from rlt_ros.acting.controller import JOINTS_LOST, RELOCATED, Controller
from rlt_ros.replay.stream import EpisodeOutcome, Phase
from rlt_ros.rlt.transition import Source
from rlt_ros.robots.intervention import TakeOver

SPEED = 1.0 / HZ  # rad per step
LEAD = 0.5


def watched(arm: Arm, position: Any) -> np.ndarray | None:
    """Run one period with the arm at a position; return the checked command, or None."""
    position = np.array(position, dtype=np.float64)
    before = len(arm.commands)
    arm.later()
    arm.sense(position)
    arm.tick()
    if len(arm.commands) == before:
        return None
    target = arm.commands[-1].target
    assert target is not None
    assert (np.abs(target - position) <= LEAD + 1e-12).all()
    return target


def ended(arm: Arm) -> None:
    arm.phase(Phase.DONE, outcome=EpisodeOutcome.FAILURE)


def worked() -> Arm:
    """Arm at rest at its last command, after an episode."""
    arm = started()
    for _ in range(5):
        arm.step()
    ended(arm)
    while watched(arm, arm.commands[-1].target) is not None:
        pass
    return arm


def test_nothing_is_sent_before_policy_or_human_act() -> None:
    arm = Arm()
    for position in ((0.0, 0.0), (0.6, -0.8), (0.6, -0.8)):
        for _ in range(3):
            assert watched(arm, position) is None
    arm.phase(Phase.APPROACH)
    first = watched(arm, (0.6, -0.8))
    np.testing.assert_array_equal(first, (0.6, -0.8))


def test_a_human_begins_at_the_measured_arm() -> None:
    arm = Arm()
    watched(arm, (0.0, 0.0))
    watched(arm, (0.2, 0.2))
    engaged(arm, command=0.3)
    np.testing.assert_allclose(watched(arm, (0.2, 0.2)), 0.2 + SPEED)


def test_after_an_episode_the_motion_ends_and_then_nothing_is_sent() -> None:
    arm = started()
    for _ in range(4):
        arm.step()
    ended(arm)
    last = arm.commands[-1].target
    assert last is not None
    sent = [watched(arm, last) for _ in range(5)]
    assert sent[1:] == [None] * 4


@pytest.mark.parametrize("circuit", [True, False])
def test_under_an_e_stop_the_setpoint_follows_a_hand_and_begins_exactly_there(circuit: bool) -> None:
    arm = worked()
    position = arm.controller.measured
    assert position is not None
    arm.controller.hardware_e_stop(arm.now, circuit)
    arm.controller.e_stop(True)
    sent = []
    for _ in range(50):
        position = position + np.array([0.012, -0.006])
        sent.append(watched(arm, position))
    sent += [watched(arm, position) for _ in range(20)]
    followed = [command for command in sent if command is not None]
    assert len(followed) > 10
    np.testing.assert_allclose(followed[-1], position, atol=0.02 if circuit else LEAD / 2)
    arm.controller.hardware_e_stop(arm.now, False)
    arm.controller.e_stop(False)
    while (command := watched(arm, position)) is not None:
        followed.append(command)
    np.testing.assert_array_equal(followed[-1], position)
    assert (np.abs(np.diff(followed, axis=0)) <= 50 * SPEED).all()


def test_a_hand_that_is_faster_than_the_speed_limit_is_caught_up_with_unsent() -> None:
    arm = worked()
    arm.controller.e_stop(True)
    position, sent = np.array(arm.commands[-1].target), []
    for k in range(100):
        position = position + np.array([0.06 * (k < 12), 0.0])
        sent.append((arm.now, watched(arm, position)))
    moves = [(now, command) for now, command in sent if command is not None]
    assert sent[10][1] is None
    np.testing.assert_array_equal(moves[-1][1], position)
    for (then, before), (now, after) in itertools.pairwise(moves):
        assert (np.abs(after - before) <= (now - then) / PERIOD * SPEED + 1e-12).all()


def test_an_e_stop_before_anything_was_commanded_follows_motion_only() -> None:
    arm = Arm()
    watched(arm, (0.0, 0.0))
    arm.controller.e_stop(True)
    assert all(watched(arm, (0.0, 0.0)) is None for _ in range(20))
    moved = [watched(arm, (0.01 * k, 0.0)) for k in range(60)]
    assert any(command is not None for command in moved)


def test_an_arm_that_sags_without_a_task_is_not_followed_down() -> None:
    arm = worked()
    stands = np.array(arm.commands[-1].target)
    assert all(watched(arm, stands - 0.2) is None for _ in range(50))


def test_an_arm_that_is_pushed_in_an_episode_takes_the_hold_along_at_the_lead() -> None:
    arm = started()
    watched(arm, (0.0, 0.0))
    for k in range(1, 60):
        command = watched(arm, (0.012 * k, 0.0))
    np.testing.assert_allclose(command, (0.012 * 59 - LEAD, 0.0))
    assert not arm.controller.abort_reason(arm.now)


def test_an_arm_that_is_out_of_reach_is_not_commanded_and_its_episode_is_aborted() -> None:
    arm = started()
    watched(arm, (0.0, 0.0))
    assert watched(arm, (0.9, 0.0)) is None
    assert arm.controller.hold_reason == authority.OUT_OF_REACH
    assert not arm.controller.abort_reason(arm.now)
    for _ in range(6):
        assert watched(arm, (0.9, 0.0)) is None
    assert arm.controller.abort_reason(arm.now) == LEAD_EXCEEDED
    assert not arm.controller.commanding


def test_a_knock_does_not_cost_the_episode() -> None:
    arm = started()
    watched(arm, (0.0, 0.0))
    assert watched(arm, (0.6, 0.0)) is None
    assert watched(arm, (0.1, 0.0)) is not None
    for _ in range(20):
        watched(arm, (0.1, 0.0))
    assert not arm.controller.abort_reason(arm.now)


def relocated(arm: Arm, position: Any) -> None:
    arm.later()
    arm.controller.joint_state(arm.stamp, np.array(position), arm.now, relocated=True)
    arm.tick()


def test_after_a_relocation_nothing_is_sent_before_policy_or_human_act_again() -> None:
    arm = worked()
    sent = len(arm.commands)
    relocated(arm, (-0.9, 0.9))
    assert all(watched(arm, (-0.9, 0.9)) is None for _ in range(100))
    arm.phase(Phase.APPROACH, 2)
    np.testing.assert_array_equal(watched(arm, (-0.9, 0.9)), (-0.9, 0.9))
    assert len(arm.commands) == sent + 1


def test_a_relocation_aborts_the_episode() -> None:
    arm = started()
    arm.step()
    relocated(arm, (-0.9, 0.9))
    assert arm.controller.abort_reason(arm.now) == RELOCATED
    assert watched(arm, (-0.9, 0.9)) is None
    assert arm.controller.hold_reason == RELOCATED


def test_after_a_rejected_joint_state_nothing_is_sent_before_an_accepted_one() -> None:
    arm = started()
    arm.step()
    sent, steps = len(arm.commands), arm.controller.counters.sources.total()
    for _ in range(3):
        arm.later()
        arm.sense(arm.commands[-1].target)
        arm.controller.joint_state_rejected(arm.now, stamp=arm.stamp, moved=False)
        assert record(arm.tick()).source is Source.HOLD
        assert arm.controller.hold_reason == authority.JOINTS_REJECTED
    assert arm.controller.end(arm.now, arm.stamp) is None
    assert (len(arm.commands), arm.controller.counters.unsent) == (sent, 3)
    assert arm.controller.counters.sources.total() == steps + 3
    assert watched(arm, arm.commands[-1].target) is not None
    assert not arm.controller.abort_reason(arm.now)


@pytest.mark.parametrize(("late", "sends"), [(1, False), (0, True), (100, True)])
def test_an_old_joint_state_that_arrives_after_a_rejected_one_confirms_nothing(
    late: int, sends: bool
) -> None:
    arm = started()
    arm.step()
    arm.later(4)
    arm.controller.joint_state_rejected(arm.now, stamp=arm.stamp, moved=False)
    arm.stamp += 1
    if late == 100:  # the clock of the rejected one is far ahead
        arm.controller.joint_state_rejected(arm.now, stamp=arm.stamp + 10**10, moved=False)
    before = len(arm.commands)
    arm.sense(arm.commands[-1].target, late=1 if late == 1 else 0)
    arm.tick()
    assert (len(arm.commands) > before) == sends


def test_a_take_over_after_a_rejected_joint_state_moves_nothing() -> None:
    arm = started()
    arm.step()
    arm.controller.joint_state_rejected(arm.now, stamp=arm.stamp, moved=False)
    engaged(arm)
    assert arm.controller.preempt(arm.now, arm.stamp) is None


@pytest.mark.parametrize(("periods", "aborts"), [(24, False), (26, True)])
def test_a_silence_of_half_a_second_aborts_the_episode(periods: int, aborts: bool) -> None:
    arm = started()
    arm.step()
    position = arm.commands[-1].target
    arm.later(periods - 1)
    watched(arm, position)
    assert arm.controller.abort_reason(arm.now) == (JOINTS_LOST if aborts else "")


def test_a_silence_before_the_episode_costs_nothing() -> None:
    arm = worked()
    position = arm.commands[-1].target
    arm.later(100)
    arm.phase(Phase.APPROACH, 2)
    assert watched(arm, position) is not None
    assert not arm.controller.abort_reason(arm.now)


def test_an_episode_right_after_a_relocation_waits_until_the_speed_limit_allows_for_the_way() -> None:
    arm = worked()
    before, then = arm.commands[-1].target, arm.now
    relocated(arm, (-0.9, 0.9))
    arm.phase(Phase.APPROACH, 2)
    while watched(arm, (-0.9, 0.9)) is None:
        assert arm.controller.hold_reason == authority.OUT_OF_REACH
    elapsed = (arm.now - then) * 1e-9
    assert (np.abs(arm.commands[-1].target - before) <= elapsed).all()
    assert elapsed > 0.8


@pytest.mark.parametrize("restart", [True, False])
def test_a_driver_that_restarts_elsewhere_is_not_followed(restart: bool) -> None:
    arm = worked()
    if restart:
        arm.stamp = PERIOD
    else:
        arm.later(50)
    assert all(watched(arm, (0.0, 0.0)) is None for _ in range(100))
    assert all(watched(arm, (0.9, 0.9)) is None for _ in range(5))


def test_an_arm_that_is_not_seen_is_not_commanded_and_its_steps_are_counted() -> None:
    arm = started()
    arm.step()
    arm.step()
    sent = len(arm.commands)
    steps = []
    for _ in range(10):
        arm.later()
        steps.append(record(arm.tick()))
    assert [step.step for step in steps] == list(range(2, 12))
    assert steps[-1].source is Source.HOLD
    # The rest of a chunk within the time-out, and the command that ends the motion.
    assert len(arm.commands) - sent <= 4
    assert arm.controller.counters.unsent > 0


def test_under_an_e_stop_an_arm_that_is_not_seen_is_not_followed() -> None:
    arm = worked()
    position = np.array(arm.commands[-1].target)
    arm.controller.e_stop(True)
    watched(arm, position + 0.4)
    sent = len(arm.commands)
    arm.later(5)
    for _ in range(50):
        arm.later()
        arm.tick()
    # The command that ends the motion.
    assert len(arm.commands) <= sent + 1


def test_a_driver_that_lies_after_a_gap_is_not_followed() -> None:
    arm = worked()
    position = np.array(arm.commands[-1].target)
    arm.later(10)
    assert all(watched(arm, position + 0.51) is None for _ in range(100))


def test_under_an_e_stop_a_driver_that_lies_is_not_followed() -> None:
    arm = worked()
    position = np.array(arm.commands[-1].target)
    arm.controller.hardware_e_stop(arm.now, True)
    arm.controller.e_stop(True)
    assert watched(arm, position) is None
    assert all(watched(arm, position + 0.51) is None for _ in range(100))


def test_only_a_command_within_a_step_of_the_one_before_continues_its_motion() -> None:
    arm = worked()
    arm.later(50)
    arm.phase(Phase.APPROACH, 2)
    watched(arm, (0.3, 0.3))
    assert arm.commands[-1].is_start
    engaged(arm)
    watched(arm, (0.3, 0.3))
    assert not arm.commands[-1].is_start


def test_a_start_outside_the_limits_comes_back_at_the_speed_limit_once_policy_or_human_act() -> None:
    arm = Arm()
    for _ in range(20):
        assert watched(arm, (1.3, 0.0)) is None
    arm.phase(Phase.APPROACH)
    position, sent = np.array((1.3, 0.0)), []
    for _ in range(16):
        command = watched(arm, position)
        assert command is not None
        sent.append(command[0])
        position = command
        if command[0] > 1.0:
            assert arm.controller.hold_reason == authority.OUTSIDE_LIMITS
    np.testing.assert_allclose(sent, np.maximum(1.0, 1.3 - SPEED * np.arange(1, 17)))
    assert arm.controller.counters.sources == {"hold": 16}


class Mirrored:
    """Kinematics of an arm whose tip goes to -x as its first joint goes up."""

    def forward(self, q: np.ndarray) -> np.ndarray:
        pose = np.eye(4)
        pose[:2, 3] = -q[0], q[1]
        return pose


@pytest.mark.parametrize(("highest", "blocks"), [(-1.2, True), (-0.9, False)])
def test_an_episode_is_aborted_when_the_workspace_blocks_the_way_back_inside_the_limits(
    highest: float, blocks: bool
) -> None:
    arm = Arm()
    box = np.array([-2.0, -2.0, -1.0, highest, 2.0, 1.0])
    limits = dataclasses.replace(LIMITS, workspace=box)
    arm.controller = Controller(ControlConfig(), limits, HZ, Mirrored())
    position = np.array((1.3, 0.0))
    watched(arm, position)
    arm.phase(Phase.APPROACH)
    for _ in range(80):
        command = watched(arm, position)
        position = position if command is None else command
        assert position[0] >= (1.2 if blocks else 1.0)
    assert arm.controller.abort_reason(arm.now) == (RETURN_BLOCKED if blocks else "")


def test_a_human_brings_an_arm_back_inside_its_limits() -> None:
    arm = Arm()
    watched(arm, (1.3, 0.0))
    for _ in range(3):
        engaged(arm, command=1.3)
        command = watched(arm, (1.3, 0.0))
    np.testing.assert_allclose(command, (1.3 - 3 * SPEED, 3 * SPEED))


def with_held_joint() -> Arm:
    arm = Arm()
    arm.controller = Controller(ControlConfig(), LIMITS, HZ, held=1)
    return arm


def test_a_joint_that_commands_must_hold_obeys_the_same_rule() -> None:
    arm = with_held_joint()
    held = 7.0
    for _ in range(3):
        arm.later()
        arm.sense((0.0, 0.0, held))
        assert arm.tick().command is None
    arm.phase(Phase.APPROACH)
    for k in range(60):
        arm.later()
        arm.sense((0.0, 0.0, held + 0.01 * k))
        arm.tick()
        assert abs(arm.commands[-1].held[0] - held - 0.01 * k) <= LEAD + 1e-12
    assert arm.commands[0].held == [7.0]
    assert arm.commands[-1].held == pytest.approx([7.0 + 0.59 - LEAD])
    arm.later()
    arm.sense((0.0, 0.0, 3.0))
    command = arm.tick().command
    assert command is not None and command.target is None


def test_at_shutdown_only_a_motion_is_ended() -> None:
    arm = started()
    watched(arm, (0.0, 0.0))
    engaged(arm)
    last = watched(arm, (0.0, 0.0))
    halt = arm.controller.end(arm.now, arm.stamp)
    assert halt is not None
    np.testing.assert_array_equal(halt.target, last)
    assert arm.controller.end(arm.now, arm.stamp) is None
    assert Arm().controller.end(0, 0) is None


def test_acceleration_yields_to_the_lead() -> None:
    limits = dataclasses.replace(LIMITS, acceleration=np.full(2, 0.5), lead=np.full(2, 0.1))
    arm = Arm(limits)
    arm.sense()
    engaged(arm, command=1.0)
    for _ in range(60):
        engaged(arm, command=1.0)
        arm.later()
        arm.sense((0.0, 0.0))
        arm.tick()
        assert (np.abs(arm.commands[-1].target) <= 0.1 + 1e-12).all()
    engaged(arm, phase=TakeOver.RELEASED)
