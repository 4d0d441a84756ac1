"""Gripper: the human opens and closes it; without a human it keeps its last command."""

from __future__ import annotations

import math

import numpy as np
import pytest
from control_arm import LIMITS, Arm
from hypothesis import given
from hypothesis import strategies as st

from rlt_ros.acting.config import ControlConfig
from rlt_ros.acting.controller import Controller
from rlt_ros.acting.gripper import Gripper
from rlt_ros.acting.records import InputRefused
from rlt_ros.replay.stream import EpisodeOutcome, Phase
from rlt_ros.robots.gripper import GripperProfile
from rlt_ros.robots.intervention import Intervention, TakeOver

OPEN, CLOSED = 0.8, 0.0
AT_ONCE = GripperProfile(joint="finger", open=OPEN, closed=CLOSED)
# 0.08 per step at 50 Hz, a tenth of the stroke.
SLOW = GripperProfile(joint="finger", open=OPEN, closed=CLOSED, speed=4.0)
RELEASED, BLENDING, ENGAGED, HOLD_OFF = TakeOver


def arm(profile: GripperProfile | None = AT_ONCE) -> Arm:
    one = Arm()
    one.controller = Controller(ControlConfig(), LIMITS, 50.0, gripper=profile)
    one.sense()
    one.phase(Phase.CRITICAL)
    return one


def command_gripper(one: Arm, gripper: float | None, phase: TakeOver = ENGAGED) -> None:
    command = np.zeros(2 if phase.commands else 0)
    human = Intervention(phase, float(phase.commands), command, "joy", one.stamp, gripper)
    one.controller.intervention(human, one.now)


def sent(one: Arm) -> float | None:
    """Command of the gripper in the next control step."""
    one.later()
    one.sense()
    command = one.tick().command
    assert command is not None
    return command.gripper


def test_no_command_is_sent_before_the_human_commands_it() -> None:
    one = arm()
    assert sent(one) is None
    command_gripper(one, None)
    assert sent(one) is None


def test_a_command_of_the_human_is_sent_and_stays_after_the_release() -> None:
    one = arm()
    command_gripper(one, 1.0)
    assert sent(one) == CLOSED
    command_gripper(one, 0.0, BLENDING)
    assert sent(one) == OPEN
    command_gripper(one, None)
    assert sent(one) == OPEN
    command_gripper(one, None, RELEASED)
    assert sent(one) == OPEN


@pytest.mark.parametrize("phase", [RELEASED, HOLD_OFF])
def test_a_human_without_the_arm_does_not_move_it(phase: TakeOver) -> None:
    one = arm()
    command_gripper(one, 1.0, phase)
    assert sent(one) is None


def test_under_the_e_stop_it_stays_where_it_is() -> None:
    one = arm(SLOW)
    command_gripper(one, 0.0)
    assert sent(one) == pytest.approx(OPEN)
    command_gripper(one, 1.0)
    assert sent(one) == pytest.approx(0.9 * OPEN)
    one.controller.e_stop(True)
    assert [sent(one) for _ in range(3)] == pytest.approx([0.9 * OPEN] * 3)


def test_it_stops_when_the_interventions_time_out() -> None:
    one = arm(SLOW)
    command_gripper(one, 0.0)
    sent(one)
    command_gripper(one, 1.0)
    positions = [sent(one) for _ in range(20)]
    # Steps in the time-out of 60 ms.
    moved = 3
    assert positions[moved:] == positions[moved - 1 : -1]
    assert positions[-1] is not None
    assert positions[-1] > 0.5 * OPEN


def test_it_moves_at_the_speed_of_the_profile_from_its_measured_position() -> None:
    gripper = Gripper(SLOW, 50.0)
    gripper.measure(0.5)
    commands = []
    for _ in range(8):
        gripper.move(1.0)
        commands.append(gripper.command)
    np.testing.assert_allclose(commands, [0.32, 0.24, 0.16, 0.08, 0.0, 0.0, 0.0, 0.0], atol=1e-12)


def test_without_a_measurement_the_first_command_is_the_end_itself() -> None:
    gripper = Gripper(SLOW, 50.0)
    gripper.move(1.0)
    assert gripper.command == CLOSED


@given(
    shares=st.lists(st.none() | st.floats(0.0, 1.0), max_size=20), measured=st.none() | st.floats(-9.0, 9.0)
)
def test_the_command_stays_between_open_and_closed(
    shares: list[float | None], measured: float | None
) -> None:
    gripper = Gripper(SLOW, 50.0)
    if measured is not None:
        gripper.measure(SLOW.share(measured))
    last = None
    for share in shares:
        if share is not None:
            gripper.move(share)
        if gripper.command is not None:
            assert CLOSED - 1e-12 <= gripper.command <= OPEN + 1e-12
            assert last is None or abs(gripper.command - last) <= 0.08 + 1e-12
        last = gripper.command


def test_a_robot_without_a_gripper_refuses_to_command_one() -> None:
    with pytest.raises(InputRefused, match="no `gripper`"):
        command_gripper(arm(None), 1.0)


@pytest.mark.parametrize("share", [-0.1, 1.1, math.nan, math.inf])
def test_a_command_beyond_open_and_closed_is_refused(share: float) -> None:
    with pytest.raises(ValueError, match="gripper"):
        Intervention(ENGAGED, 1.0, np.zeros(2), "joy", 0, share)


def test_after_a_restart_the_gripper_is_not_commanded_until_the_human_moves_it() -> None:
    one = arm()
    command_gripper(one, 1.0)
    assert sent(one) == CLOSED
    command_gripper(one, None, RELEASED)
    one.controller.begin()
    assert sent(one) is None


def test_its_command_outlasts_the_arms_but_not_an_e_stop() -> None:
    one = arm()
    command_gripper(one, 1.0)
    assert sent(one) == CLOSED
    command_gripper(one, None, RELEASED)
    one.phase(Phase.DONE, outcome=EpisodeOutcome.FAILURE)
    for _ in range(3):
        one.later()
        one.sense()
        command = one.tick().command
    assert command is None
    assert one.controller.gripper == CLOSED
    one.controller.e_stop(True)
    assert one.controller.gripper is None
