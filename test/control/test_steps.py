"""Control steps of an arm, from records in to commands out: in lock-step, by the clock, across chunk borders."""

from __future__ import annotations

import numpy as np
import pytest
from control_arm import CHUNK, PERIOD, Arm, record, started

from rlt_ros.control import authority
from rlt_ros.control.chunks import ChunkRefused
from rlt_ros.control.episode import LOST_COUNT
from rlt_ros.control.records import Outcome
from rlt_ros.rlt.stream import Ending, EpisodeState, Phase
from rlt_ros.rlt.transition import Source


def test_lock_step_answers_each_joint_state_once_after_its_chunk_has_come() -> None:
    arm = started(lock_step=True)
    arm.later()
    arm.sense()
    waiting = arm.tick()
    assert waiting.command is None
    assert waiting.request is not None
    assert (waiting.request.step, waiting.request.stamp, waiting.request.overlap) == (0, arm.stamp, False)
    assert arm.tick() == Outcome()  # it asks once
    chunk = arm.offer(0)
    done = record(arm.tick())
    assert (done.step, done.stamp, done.source, done.chunk, done.row) == (
        0,
        arm.stamp,
        Source.VLA,
        chunk.chunk,
        0,
    )
    assert arm.tick() == Outcome()


def test_steps_are_numbered_without_gaps_across_chunks_and_phases() -> None:
    arm = started(lock_step=True)
    steps = [record(arm.step()) for _ in range(6)]
    arm.phase(Phase.CRITICAL)
    steps += [record(arm.step()) for _ in range(5)]
    assert [step.step for step in steps] == list(range(11))
    # The hand-over throws the rest of a chunk away.
    assert [step.row for step in steps] == [0, 1, 2, 3, 0, 1, 0, 1, 2, 3, 0]


def test_between_episodes_simulated_time_stands_still() -> None:
    arm = started(lock_step=True)
    arm.step()
    arm.phase(Phase.DONE, ending=Ending.SUCCESS)
    arm.later()
    arm.sense()
    assert arm.tick() == Outcome()


def test_lock_step_begins_an_episode_where_the_arm_was_put() -> None:
    arm = started(lock_step=True)
    arm.step()
    arm.phase(Phase.DONE, ending=Ending.SUCCESS)
    arm.phase(Phase.RESETTING, 2)
    arm.later()
    arm.sense((0.4, 0.4))
    arm.phase(Phase.APPROACH, 2)
    arm.tick()
    arm.offer(0, episode=2, anchor=np.full(2, 0.4, np.float32))
    done = record(arm.tick())
    assert done.step == 0
    np.testing.assert_allclose(done.command, 0.41, atol=1e-6)


def test_a_joint_state_from_before_the_reset_is_not_answered_after_it() -> None:
    arm = started(lock_step=True)
    arm.step()
    arm.later()
    arm.sense()
    arm.phase(Phase.RESETTING, 2)
    arm.phase(Phase.APPROACH, 2)
    assert arm.tick() == Outcome()


def test_a_joint_state_from_before_the_reset_that_arrives_after_it_costs_no_episode() -> None:
    arm = started(lock_step=True)
    arm.step()
    arm.phase(Phase.DONE, ending=Ending.SUCCESS)
    arm.phase(Phase.RESETTING, 2)
    arm.phase(Phase.APPROACH, 2)
    arm.later()
    arm.sense()
    assert arm.tick().request is not None
    arm.later()
    arm.sense((0.9, 0.9))
    again = arm.tick()
    assert again.request is not None and again.request.stamp == arm.stamp
    arm.offer(0, episode=2, anchor=np.full(2, 0.9, np.float32))
    done = record(arm.tick())
    assert done.step == 0
    np.testing.assert_allclose(done.command, 0.91, atol=1e-6)
    arm.now += 10**9
    assert arm.controller.must_abort(arm.now) == ""


def test_a_chunk_that_does_not_come_makes_the_arm_hold_and_is_asked_for_again() -> None:
    arm = started(lock_step=True, chunk_timeout=1.5)
    arm.later()
    arm.sense()
    arm.tick()
    arm.now += 1_600_000_000
    held = record(arm.tick())
    assert (held.source, arm.controller.why_held) == (Source.HOLD, authority.NO_CHUNK)
    arm.later()
    arm.sense()
    again = arm.tick()
    assert again.request is not None
    assert again.request.step == 1
    arm.offer(0)  # the late answer to the first request
    assert record(arm.tick()).row == 0


def test_blocking_holds_until_the_chunk_is_there_and_executes_all_of_it() -> None:
    arm = started()
    sources, rows = [], []
    for _ in range(9):
        arm.later()
        arm.sense()
        outcome = arm.tick()
        if outcome.request:
            asked = outcome.request.step
        sources.append(record(outcome).source)
        rows.append(record(outcome).row)
        if sources[-2:] == [Source.HOLD, Source.HOLD]:
            arm.offer(asked)
    assert sources == [Source.HOLD] * 2 + [Source.VLA] * 4 + [Source.HOLD] * 2 + [Source.VLA]
    assert rows[2:6] == [0, 1, 2, 3]


@pytest.mark.parametrize("late", [0, 1, 3])
def test_overlapping_asks_early_for_where_the_arm_will_be_and_goes_on_without_a_stop(late: int) -> None:
    arm = started(boundary="overlap", overlap_delay=0.12)
    rising = np.linspace(0.001, 0.01, 10, dtype=np.float32)[:, None].repeat(2, axis=1)
    arm.later(late + 1)
    arm.sense(late=late)
    arm.tick()
    arm.offer(0, action=rising, reference=rising)
    executed, asked = [], []
    for _ in range(30):
        arm.later()
        arm.sense(arm.commands[-1 - late].target if len(arm.commands) > late else (0.0, 0.0), late=late)
        outcome = arm.tick()
        executed.append(record(outcome))
        if outcome.request:
            asked.append((executed[-1].step, outcome.request))
        if asked and executed[-1].step - asked[-1][0] == 2:
            request = asked[-1][1]
            anchor = request.expected.astype(np.float32)
            arm.offer(request.step, anchor=anchor, action=rising, reference=rising)
    assert [step.row for step in executed] == [*range(10)] * 3
    assert [request.step for _, request in asked][:2] == [11, 21]
    for border, (step, request) in zip((11, 21), asked, strict=False):
        np.testing.assert_allclose(request.expected, executed[border - 2].command, atol=1e-6)
        assert border - step == 6
    np.testing.assert_allclose(arm.controller.latencies, 2 * PERIOD * 1e-9)


def test_lock_step_asks_early_too_and_waits_at_the_border() -> None:
    arm = started(lock_step=True, boundary="overlap", overlap_delay=0.06)
    arm.step()
    asked, waited = [], 0
    for step in range(1, 10):
        arm.later()
        arm.sense()
        outcome = arm.tick()
        if outcome.request:
            asked.append((step, outcome.request.step))
        if outcome.command is None:
            waited += 1
            arm.offer(step)
            outcome = arm.tick()
        assert (record(outcome).source, record(outcome).row) == (Source.VLA, step % CHUNK)
    assert asked == [(1, 4), (5, 8), (9, 12)]
    assert waited == 2


def test_a_chunk_that_comes_late_begins_where_the_arm_holds() -> None:
    arm = started(boundary="overlap")
    executed = [record(arm.step())]
    for step in range(1, 11):
        arm.later()
        arm.sense()
        if step == 7:
            arm.offer(1 + CHUNK)
        executed.append(record(arm.tick()))
    vla = [(Source.VLA, row) for row in range(CHUNK)]
    hold = (Source.HOLD, 0)
    assert [(one.source, one.row) for one in executed] == [hold, *vla, hold, hold, *vla]


def test_a_chunk_that_is_chosen_anew_takes_the_place_of_one_that_has_not_begun() -> None:
    arm = started(boundary="overlap", overlap_delay=0.12)
    arm.later()
    arm.sense()
    arm.tick()
    first, border, executed = arm.offer(0), 1 + CHUNK, []
    for step in range(1, border + CHUNK):
        arm.later()
        arm.sense()
        if step == 3:
            arm.offer(border)
            anew = arm.offer(border)
        if step > border:
            with pytest.raises(ChunkRefused, match=f"{anew.chunk} has begun"):
                arm.offer(border)
        executed.append(record(arm.tick()).chunk)
    assert executed == [first.chunk] * CHUNK + [anew.chunk] * CHUNK


def test_a_chunk_that_was_asked_for_before_the_hand_over_is_not_executed_after_it() -> None:
    arm = started(boundary="overlap", overlap_delay=0.12)
    arm.step()
    early: list[int] = []
    while not early:
        arm.later()
        arm.sense()
        outcome = arm.tick()
        early += [outcome.request.step] if outcome.request else []
    arm.phase(Phase.CRITICAL)
    arm.later()
    arm.sense()
    request = arm.tick().request
    assert request is not None and not request.overlap
    with pytest.raises(ChunkRefused, match=f"for step {early[0]}; asked for"):
        arm.offer(early[0])
    arm.offer(request.step)
    arm.later()
    arm.sense()
    assert record(arm.tick()).source is Source.VLA


def test_whoever_joins_in_the_middle_of_an_episode_holds_and_counts_no_steps() -> None:
    arm = Arm(lock_step=True)
    arm.phase(Phase.CRITICAL)
    arm.later(20)
    arm.sense()
    outcome = arm.tick()
    assert arm.controller.must_abort(arm.now + 10**9)
    assert outcome.command is not None
    assert (outcome.command.record, outcome.request) == (None, None)
    arm.phase(Phase.RESETTING, 2)
    arm.phase(Phase.APPROACH, 2)
    arm.later()
    arm.sense()
    assert arm.tick().request is not None
    assert not arm.controller.must_abort(arm.now + 10**9)


def test_whoever_joins_hears_of_older_episodes_first_and_aborts_only_the_one_that_runs() -> None:
    arm = Arm()
    arm.sense()
    arm.phase(Phase.CRITICAL, 3)  # latched, and over by now
    arm.later(20)
    arm.sense()
    arm.tick()
    assert not arm.controller.must_abort(arm.now)
    arm.phase(Phase.DONE, 3, ending=Ending.SUCCESS)
    assert not arm.controller.must_abort(arm.now + 10**9)
    arm.controller.episode_state(EpisodeState(4, Phase.CRITICAL, stamp=arm.stamp - 10**9))
    assert not arm.controller.must_abort(arm.now + 10**9)  # nothing is known of it yet
    arm.later()
    arm.sense()
    arm.tick()
    assert not arm.controller.must_abort(arm.now)
    assert arm.controller.must_abort(arm.now + 10**9)
    assert arm.controller.why_held == LOST_COUNT


def test_a_real_arm_that_lags_is_not_told_to_jump_back_when_an_episode_begins() -> None:
    arm = started()
    for _ in range(5):
        arm.step()
    arm.later()
    arm.sense(arm.commands[-1].target - 0.05)
    arm.tick()
    before = arm.commands[-1].target
    arm.phase(Phase.DONE, ending=Ending.FAILURE)
    arm.phase(Phase.APPROACH, 2)
    arm.later()
    arm.sense(before - 0.04)
    arm.tick()
    np.testing.assert_array_equal(arm.commands[-1].target, before)


@pytest.mark.parametrize("boundary", ["block", "overlap"])
def test_an_arm_that_was_moved_between_episodes_is_not_told_to_go_back(boundary: str) -> None:
    arm = started(boundary=boundary)
    for _ in range(5):
        arm.step()
    arm.phase(Phase.DONE, ending=Ending.FAILURE)
    arm.later()
    arm.sense(arm.commands[-1].target)
    arm.tick()
    arm.phase(Phase.RESETTING, 2)
    arm.phase(Phase.APPROACH, 2)
    sent = len(arm.commands)
    # The speed limit allows for the way in this time.
    arm.later(10)
    assert arm.tick() == Outcome()  # where it is now has not been measured
    assert arm.controller.step_in(arm.now, arm.stamp) is None
    arm.later()
    arm.sense((0.1, 0.04))
    outcome = arm.tick()
    np.testing.assert_allclose(arm.commands[sent].target, (0.1, 0.04))
    assert outcome.request is not None and not outcome.request.overlap
