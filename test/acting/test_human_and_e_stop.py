"""Authority: the human over the policy, the e-stop over both."""

from __future__ import annotations

import numpy as np
from control_arm import engaged, record, started

from rlt_ros.acting import authority
from rlt_ros.rlt.transition import Source
from rlt_ros.robots.intervention import Intervention, TakeOver


def test_a_human_acts_from_the_very_next_step_and_is_recorded() -> None:
    arm = started()
    arm.step()
    arm.step()
    arm.later()
    arm.sense(arm.commands[-1].target)
    engaged(arm)
    done = record(arm.tick())
    assert (done.source, done.chunk, done.row) == (Source.HUMAN, 0, 0)


def test_the_arm_holds_while_the_interventions_of_an_acting_human_are_timed_out() -> None:
    arm = started()
    arm.step()
    engaged(arm)
    for _ in range(5):
        arm.later()
        arm.sense()
        result = arm.tick()
    assert record(result).source is Source.HOLD
    engaged(arm, phase=TakeOver.RELEASED)
    for _ in range(2):
        result = arm.step()
    assert record(result).source is Source.VLA


def test_after_a_human_the_policy_plans_from_a_new_observation() -> None:
    arm = started(lock_step=True)
    arm.step()
    arm.later()
    arm.sense()
    engaged(arm)
    assert record(arm.tick()).source is Source.HUMAN
    engaged(arm, phase=TakeOver.RELEASED)
    arm.later()
    arm.sense()
    result = arm.tick()
    assert result.command is None
    assert result.request is not None


def test_lock_step_waits_for_the_intervention_of_an_acting_human() -> None:
    arm = started(lock_step=True)
    arm.step()
    engaged(arm)
    arm.later()
    arm.sense()
    assert arm.tick().command is None
    engaged(arm)
    assert record(arm.tick()).source is Source.HUMAN


def test_a_take_over_stops_the_policys_motion_outside_the_period_but_rarely() -> None:
    arm = started()
    arm.step()
    arm.step()
    arm.later(0.4)
    taken = Intervention(TakeOver.BLENDING, 0.0, np.zeros(2), "joy", arm.stamp)
    assert arm.controller.intervention(taken, arm.now)
    command = arm.controller.preempt(arm.now, arm.stamp)
    assert command is not None
    assert command.record is not None
    assert (command.record.source, command.record.step) == (Source.HUMAN, 2)
    np.testing.assert_array_equal(command.target, arm.commands[-1].target)
    assert not arm.controller.intervention(taken, arm.now)
    engaged(arm, phase=TakeOver.RELEASED)
    assert arm.controller.intervention(taken, arm.now)
    assert arm.controller.preempt(arm.now, arm.stamp) is None


def test_with_the_e_stop_pressed_a_take_over_changes_nothing() -> None:
    arm = started()
    arm.step()
    arm.controller.e_stop(True)
    engaged(arm)
    assert arm.controller.preempt(arm.now, arm.stamp) is None


def test_chunks_are_requested_while_a_human_acts() -> None:
    arm = started(lock_step=True)
    requests = 0
    for _ in range(8):
        engaged(arm)
        arm.later()
        engaged(arm)
        arm.sense()
        result = arm.tick()
        if result.request:
            requests += 1
            arm.offer(result.request.step)
            result = arm.tick()
        assert record(result).source is Source.HUMAN
    assert requests == 2


def test_an_e_stop_holds_and_its_release_does_not_continue_the_old_plan() -> None:
    arm = started()
    arm.step()
    arm.step()
    arm.controller.e_stop(True)
    stopped = arm.step()
    assert (record(stopped).source, stopped.request) == (Source.HOLD, None)
    arm.controller.e_stop(False)
    arm.later()
    arm.sense()
    result = arm.tick()
    assert record(result).source is Source.HOLD
    assert result.request is not None


def test_a_hardware_e_stop_that_times_out_stops_the_arm() -> None:
    arm = started(e_stop_timeout=0.1)
    assert record(arm.step()).source is Source.HOLD
    assert arm.controller.hold_reason == authority.E_STOP
    # A button does not feed the watchdog of the hardware.
    arm.controller.e_stop(False)
    assert record(arm.step()).source is Source.HOLD
    arm.controller.hardware_e_stop(arm.now)
    arm.step()
    assert record(arm.step()).source is Source.VLA


def test_a_restart_begins_at_the_measured_arm() -> None:
    arm = started()
    arm.step()
    arm.step()
    # By another node while this one was inactive.
    moved = (0.9, -0.9)
    arm.later()
    arm.sense(moved)
    arm.controller.begin()
    command = arm.tick().command
    assert command is not None
    np.testing.assert_allclose(command.target, moved)
