"""Who comes before the policy: the human, and the e-stop before both."""

from __future__ import annotations

import numpy as np
from control_arm import engaged, record, started

from rlt_ros.control import authority
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


def test_a_human_who_acts_and_falls_silent_makes_the_arm_hold_until_there_is_news() -> None:
    arm = started()
    arm.step()
    engaged(arm)
    for _ in range(5):
        arm.later()
        arm.sense()
        outcome = arm.tick()
    assert record(outcome).source is Source.HOLD
    engaged(arm, phase=TakeOver.RELEASED)
    for _ in range(2):
        outcome = arm.step()
    assert record(outcome).source is Source.VLA


def test_after_a_human_the_policy_looks_anew() -> None:
    arm = started(lock_step=True)
    arm.step()
    arm.later()
    arm.sense()
    engaged(arm)
    assert record(arm.tick()).source is Source.HUMAN
    engaged(arm, phase=TakeOver.RELEASED)
    arm.later()
    arm.sense()
    outcome = arm.tick()
    assert outcome.command is None
    assert outcome.request is not None


def test_lock_step_waits_for_what_an_acting_human_commands_at_this_moment() -> None:
    arm = started(lock_step=True)
    arm.step()
    engaged(arm)
    arm.later()
    arm.sense()
    assert arm.tick().command is None
    engaged(arm)
    assert record(arm.tick()).source is Source.HUMAN


def test_a_take_over_stops_the_policys_motion_out_of_turn_but_not_again_and_again() -> None:
    arm = started()
    arm.step()
    arm.step()
    arm.later(0.4)
    taken = Intervention(TakeOver.BLENDING, 0.0, np.zeros(2), "joy", arm.stamp)
    assert arm.controller.intervention(taken, arm.now)
    command = arm.controller.step_in(arm.now, arm.stamp)
    assert command is not None
    assert command.record is not None
    assert (command.record.source, command.record.step) == (Source.HUMAN, 2)
    np.testing.assert_array_equal(command.target, arm.commands[-1].target)
    assert not arm.controller.intervention(taken, arm.now)
    engaged(arm, phase=TakeOver.RELEASED)
    assert arm.controller.intervention(taken, arm.now)
    assert arm.controller.step_in(arm.now, arm.stamp) is None


def test_with_the_e_stop_pressed_a_take_over_changes_nothing() -> None:
    arm = started()
    arm.step()
    arm.controller.e_stop(True)
    engaged(arm)
    assert arm.controller.step_in(arm.now, arm.stamp) is None


def test_chunks_are_asked_for_while_a_human_acts() -> None:
    arm = started(lock_step=True)
    requests = 0
    for _ in range(8):
        engaged(arm)
        arm.later()
        engaged(arm)
        arm.sense()
        outcome = arm.tick()
        if outcome.request:
            requests += 1
            arm.offer(outcome.request.step)
            outcome = arm.tick()
        assert record(outcome).source is Source.HUMAN
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
    outcome = arm.tick()
    assert record(outcome).source is Source.HOLD
    assert outcome.request is not None


def test_an_e_stop_that_must_speak_and_does_not_stops_the_arm() -> None:
    arm = started(e_stop_timeout=0.1)
    assert record(arm.step()).source is Source.HOLD
    assert arm.controller.why_held == authority.E_STOP
    arm.controller.e_stop(False)  # a button is not what must speak
    assert record(arm.step()).source is Source.HOLD
    arm.controller.e_stop_speaks(arm.now)
    arm.step()
    assert record(arm.step()).source is Source.VLA


def test_commanding_again_begins_where_the_arm_is_now() -> None:
    arm = started()
    arm.step()
    arm.step()
    moved = (0.9, -0.9)  # by somebody else, while nobody commanded here
    arm.later()
    arm.sense(moved)
    arm.controller.begin()
    command = arm.tick().command
    assert command is not None
    np.testing.assert_allclose(command.target, moved)
