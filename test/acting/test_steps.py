"""Control steps of an arm, from records to commands: in lock-step, clocked, and across chunk borders."""

from __future__ import annotations

import numpy as np
import pytest
from control_arm import CHUNK, PERIOD, Arm, record, started

from rlt_ros.acting import authority
from rlt_ros.acting.chunks import ChunkRefused
from rlt_ros.acting.episode import JOINED_LATE
from rlt_ros.acting.records import TickResult
from rlt_ros.replay.stream import EpisodeOutcome, EpisodeState, Phase
from rlt_ros.rlt.transition import Source


def test_lock_step_answers_each_joint_state_once_after_its_chunk_has_come() -> None:
    arm = started(lock_step=True)
    arm.later()
    arm.sense()
    waiting = arm.tick()
    assert waiting.command is None
    assert waiting.request is not None
    assert (waiting.request.step, waiting.request.stamp, waiting.request.overlap) == (0, arm.stamp, False)
    # A single request.
    assert arm.tick() == TickResult()
    chunk = arm.offer(0)
    done = record(arm.tick())
    assert (done.step, done.stamp, done.source, done.chunk, done.row) == (
        0,
        arm.stamp,
        Source.VLA,
        chunk.chunk,
        0,
    )
    assert arm.tick() == TickResult()


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
    arm.phase(Phase.DONE, outcome=EpisodeOutcome.SUCCESS)
    arm.later()
    arm.sense()
    assert arm.tick() == TickResult()


def test_lock_step_begins_an_episode_at_the_position_after_the_reset() -> None:
    arm = started(lock_step=True)
    arm.step()
    arm.phase(Phase.DONE, outcome=EpisodeOutcome.SUCCESS)
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
    assert arm.tick() == TickResult()


def test_a_joint_state_from_before_the_reset_that_arrives_after_it_costs_no_episode() -> None:
    arm = started(lock_step=True)
    arm.step()
    arm.phase(Phase.DONE, outcome=EpisodeOutcome.SUCCESS)
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
    assert arm.controller.abort_reason(arm.now) == ""


def test_a_missing_chunk_makes_the_arm_hold_and_is_requested_again() -> None:
    arm = started(lock_step=True, chunk_timeout=1.5)
    arm.later()
    arm.sense()
    arm.tick()
    arm.now += 1_600_000_000
    held = record(arm.tick())
    assert (held.source, arm.controller.hold_reason) == (Source.HOLD, authority.NO_CHUNK)
    arm.later()
    arm.sense()
    again = arm.tick()
    assert again.request is not None
    assert again.request.step == 1
    # The late answer to the first request.
    arm.offer(0)
    assert record(arm.tick()).row == 0


def test_blocking_holds_until_the_chunk_is_there_and_executes_all_of_it() -> None:
    arm = started()
    sources, rows = [], []
    for _ in range(9):
        arm.later()
        arm.sense()
        result = arm.tick()
        if result.request:
            requested = result.request.step
        sources.append(record(result).source)
        rows.append(record(result).row)
        if sources[-2:] == [Source.HOLD, Source.HOLD]:
            arm.offer(requested)
    assert sources == [Source.HOLD] * 2 + [Source.VLA] * 4 + [Source.HOLD] * 2 + [Source.VLA]
    assert rows[2:6] == [0, 1, 2, 3]


@pytest.mark.parametrize("late", [0, 1, 3])
def test_overlapping_requests_early_for_the_predicted_position_and_moves_without_a_stop(late: int) -> None:
    arm = started(boundary="overlap", overlap_delay=0.12)
    rising = np.linspace(0.001, 0.01, 10, dtype=np.float32)[:, None].repeat(2, axis=1)
    arm.later(late + 1)
    arm.sense(late=late)
    arm.tick()
    arm.offer(0, action=rising, reference=rising)
    executed, requested = [], []
    for _ in range(30):
        arm.later()
        arm.sense(arm.commands[-1 - late].target if len(arm.commands) > late else (0.0, 0.0), late=late)
        result = arm.tick()
        executed.append(record(result))
        if result.request:
            requested.append((executed[-1].step, result.request))
        if requested and executed[-1].step - requested[-1][0] == 2:
            request = requested[-1][1]
            anchor = request.expected.astype(np.float32)
            arm.offer(request.step, anchor=anchor, action=rising, reference=rising)
    assert [step.row for step in executed] == [*range(10)] * 3
    assert [request.step for _, request in requested][:2] == [11, 21]
    for border, (step, request) in zip((11, 21), requested, strict=False):
        np.testing.assert_allclose(request.expected, executed[border - 2].command, atol=1e-6)
        assert border - step == 6
    np.testing.assert_allclose(arm.controller.latencies, 2 * PERIOD * 1e-9)


def test_lock_step_requests_early_too_and_waits_at_the_border() -> None:
    arm = started(lock_step=True, boundary="overlap", overlap_delay=0.06)
    arm.step()
    requested, waited = [], 0
    for step in range(1, 10):
        arm.later()
        arm.sense()
        result = arm.tick()
        if result.request:
            requested.append((step, result.request.step))
        if result.command is None:
            waited += 1
            arm.offer(step)
            result = arm.tick()
        assert (record(result).source, record(result).row) == (Source.VLA, step % CHUNK)
    assert requested == [(1, 4), (5, 8), (9, 12)]
    assert waited == 2


def test_a_late_chunk_begins_where_the_arm_holds() -> None:
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


def test_a_new_chunk_replaces_one_for_the_same_step_that_has_not_begun() -> None:
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
            newer = arm.offer(border)
        if step > border:
            with pytest.raises(ChunkRefused, match=f"{newer.chunk} has begun"):
                arm.offer(border)
        executed.append(record(arm.tick()).chunk)
    assert executed == [first.chunk] * CHUNK + [newer.chunk] * CHUNK


def test_a_chunk_requested_before_the_hand_over_is_not_executed_after_it() -> None:
    arm = started(boundary="overlap", overlap_delay=0.12)
    arm.step()
    early: list[int] = []
    while not early:
        arm.later()
        arm.sense()
        result = arm.tick()
        early += [result.request.step] if result.request else []
    arm.phase(Phase.CRITICAL)
    arm.later()
    arm.sense()
    request = arm.tick().request
    assert request is not None and not request.overlap
    with pytest.raises(ChunkRefused, match=f"for step {early[0]}; requested steps"):
        arm.offer(early[0])
    arm.offer(request.step)
    arm.later()
    arm.sense()
    assert record(arm.tick()).source is Source.VLA


def test_a_controller_that_joins_in_the_middle_of_an_episode_holds_and_counts_no_steps() -> None:
    arm = Arm(lock_step=True)
    arm.phase(Phase.CRITICAL)
    arm.later(20)
    arm.sense()
    result = arm.tick()
    assert arm.controller.abort_reason(arm.now + 10**9)
    assert result.command is not None
    assert (result.command.record, result.request) == (None, None)
    arm.phase(Phase.RESETTING, 2)
    arm.phase(Phase.APPROACH, 2)
    arm.later()
    arm.sense()
    assert arm.tick().request is not None
    assert not arm.controller.abort_reason(arm.now + 10**9)


def test_a_controller_that_joins_receives_older_episodes_first_and_aborts_only_the_running_one() -> None:
    arm = Arm()
    arm.sense()
    # Latched, and over by now.
    arm.phase(Phase.CRITICAL, 3)
    arm.later(20)
    arm.sense()
    arm.tick()
    assert not arm.controller.abort_reason(arm.now)
    arm.phase(Phase.DONE, 3, outcome=EpisodeOutcome.SUCCESS)
    assert not arm.controller.abort_reason(arm.now + 10**9)
    arm.controller.episode_state(EpisodeState(4, Phase.CRITICAL, stamp=arm.stamp - 10**9))
    # The executor has not reached the episode yet.
    assert not arm.controller.abort_reason(arm.now + 10**9)
    arm.later()
    arm.sense()
    arm.tick()
    assert not arm.controller.abort_reason(arm.now)
    assert arm.controller.abort_reason(arm.now + 10**9)
    assert arm.controller.hold_reason == JOINED_LATE


def test_a_real_arm_that_lags_is_not_commanded_to_jump_back_when_an_episode_begins() -> None:
    arm = started()
    for _ in range(5):
        arm.step()
    arm.later()
    arm.sense(arm.commands[-1].target - 0.05)
    arm.tick()
    before = arm.commands[-1].target
    arm.phase(Phase.DONE, outcome=EpisodeOutcome.FAILURE)
    arm.phase(Phase.APPROACH, 2)
    arm.later()
    arm.sense(before - 0.04)
    arm.tick()
    np.testing.assert_array_equal(arm.commands[-1].target, before)


@pytest.mark.parametrize("boundary", ["block", "overlap"])
def test_an_arm_that_was_moved_between_episodes_is_not_commanded_to_go_back(boundary: str) -> None:
    arm = started(boundary=boundary)
    for _ in range(5):
        arm.step()
    arm.phase(Phase.DONE, outcome=EpisodeOutcome.FAILURE)
    arm.later()
    arm.sense(arm.commands[-1].target)
    arm.tick()
    arm.phase(Phase.RESETTING, 2)
    arm.phase(Phase.APPROACH, 2)
    sent = len(arm.commands)
    # The speed limit allows for the way in this time.
    arm.later(10)
    # The new position has not been measured.
    assert arm.tick() == TickResult()
    assert arm.controller.preempt(arm.now, arm.stamp) is None
    arm.later()
    arm.sense((0.1, 0.04))
    result = arm.tick()
    np.testing.assert_allclose(arm.commands[sent].target, (0.1, 0.04))
    assert result.request is not None and not result.request.overlap
