"""Every control step of an arm, from records in to commands out."""

from __future__ import annotations

import contextlib
import dataclasses
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlt_ros.control import authority
from rlt_ros.control.chunks import ChunkRefused
from rlt_ros.control.config import ControlConfig
from rlt_ros.control.controller import Controller
from rlt_ros.control.records import Command, InputRefused, Outcome
from rlt_ros.rlt.lineage import Lineage
from rlt_ros.rlt.parameters import ConfigError
from rlt_ros.rlt.stream import ActionChunk, Ending, EpisodeState, Phase, StreamError
from rlt_ros.rlt.transition import Source
from rlt_ros.robots.intervention import Intervention, TakeOver
from rlt_ros.robots.safety import Limits

HZ = 50.0
PERIOD = 20_000_000  # ns
LIMITS = Limits(np.full(2, -1.0), np.full(2, 1.0), np.full(2, 1.0), np.full(2, 0.5))
LINEAGE = Lineage("vla", "token", "stats")
CHUNK = 4


class Arm:
    """A controller with a clock, and a chunk for whoever asks."""

    def __init__(self, limits: Limits = LIMITS, **config: Any) -> None:
        self.controller = Controller(ControlConfig(**config), limits, HZ)
        self.now = 10**12  # steady
        self.stamp = 10**9
        self.ids = 0
        self.commands: list[Command] = []

    def sense(self, position: Any = (0.0, 0.0)) -> None:
        self.controller.joint_state(self.stamp, np.array(position, dtype=np.float64), self.now)

    def later(self, periods: float = 1.0) -> None:
        self.now += round(periods * PERIOD)
        self.stamp += round(periods * PERIOD)

    def phase(self, phase: Phase, episode: int = 1, **fields: Any) -> None:
        self.controller.episode_state(EpisodeState(episode, phase, stamp=self.stamp, **fields))

    def offer(self, step: int, **changes: Any) -> ActionChunk:
        self.ids += 1
        action = np.full((CHUNK, 2), 0.01, np.float32)
        made = ActionChunk(
            stamp=self.stamp,
            episode=1,
            chunk=self.ids,
            step=step,
            source=Source.VLA,
            anchor=np.zeros(2, np.float32),
            scale=np.ones(2, np.float32),
            reference=action,
            action=action,
            lineage=LINEAGE,
        )
        chunk = dataclasses.replace(made, **changes)
        self.controller.chunk(chunk, self.stamp, self.now)
        return chunk

    def tick(self) -> Outcome:
        outcome = self.controller.tick(self.now, self.stamp)
        if outcome.command:
            self.commands.append(outcome.command)
        return outcome

    def step(self) -> Outcome:
        """One period: sense, decide, and answer a request at once."""
        self.later()
        self.sense(self.commands[-1].target if self.commands else (0.0, 0.0))
        outcome = self.tick()
        if outcome.request:
            self.offer(outcome.request.step)
            if outcome.command is None:
                return self.tick()
        return outcome


def started(phase: Phase = Phase.APPROACH, **config: Any) -> Arm:
    arm = Arm(**config)
    arm.sense()
    arm.phase(Phase.RESETTING)
    arm.phase(Phase.APPROACH)
    if phase is Phase.CRITICAL:
        arm.phase(Phase.CRITICAL)
    return arm


def record(outcome: Outcome) -> Any:
    assert outcome.command is not None and outcome.command.record is not None
    return outcome.command.record


def test_lock_step_answers_each_joint_state_once_after_its_chunk_has_come() -> None:
    arm = started(lock_step=True)
    arm.later()
    arm.sense()
    waiting = arm.tick()
    assert waiting.command is None
    assert waiting.request is not None
    assert (waiting.request.step, waiting.request.stamp, waiting.request.block) == (0, arm.stamp, True)
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


def test_overlapping_asks_early_and_drops_the_late_steps() -> None:
    arm = started(boundary="overlap", request_margin=0)
    long = np.full((10, 2), 0.01, np.float32)
    arm.offer(0, action=long, reference=long)
    executed, asked = [], []
    for _ in range(30):
        arm.later()
        arm.sense()
        outcome = arm.tick()
        executed.append(record(outcome))
        if outcome.request:
            asked.append((executed[-1].step, arm.stamp))
        if asked and executed[-1].step - asked[0][0] == 2:  # the answer takes two steps
            arm.offer(asked[0][0], stamp=asked[0][1], action=long, reference=long)
            asked.clear()
    later = executed[10:]
    assert all(step.source is Source.VLA for step in executed)  # without a stop
    assert all(step.row >= 3 for step in later)


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"episode": 2}, "other episode"),
        ({"step": 7}, "unasked chunk"),
        ({"stamp": 0}, "stale chunk"),
        ({"stamp": 10**10}, "chunk from the future"),
        ({"source": Source.ACTOR}, "actor outside its phase"),
        (
            {
                "anchor": np.zeros(3, np.float32),
                "scale": np.ones(3, np.float32),
                "action": np.zeros((4, 3), np.float32),
                "reference": np.zeros((4, 3), np.float32),
            },
            "wrong shape",
        ),
    ],
)
def test_a_chunk_that_does_not_fit_is_refused_and_the_arm_holds(changes: dict[str, Any], kind: str) -> None:
    arm = started()
    arm.later()
    arm.sense()
    arm.tick()
    with pytest.raises(ChunkRefused) as refused:
        arm.offer(**{"step": 0, **changes})
    assert refused.value.kind == kind
    assert record(arm.tick()).source is Source.HOLD


@pytest.mark.parametrize("values", [np.nan, np.inf])
def test_a_chunk_of_nonsense_cannot_even_be_made(values: float) -> None:
    with pytest.raises(StreamError, match="not finite"):
        started().offer(0, action=np.full((CHUNK, 2), values, np.float32))


def test_a_chunk_of_other_lineage_is_refused_within_an_episode() -> None:
    arm = started()
    for _ in range(5):
        arm.step()
    arm.step()
    with pytest.raises(ChunkRefused) as refused:
        arm.offer(5, lineage=Lineage("another", "token", "stats"))
    assert refused.value.kind == "other lineage"


def test_a_chunk_that_came_before_is_refused() -> None:
    arm = started()
    arm.step()
    with pytest.raises(ChunkRefused):
        arm.offer(0, chunk=arm.ids)


def test_silent_joint_states_make_the_arm_hold() -> None:
    arm = started()
    arm.step()
    arm.step()
    arm.later(3.5)
    held = record(arm.tick())
    assert (held.source, arm.controller.why_held) == (Source.HOLD, authority.BLIND)


def test_a_driver_that_repeats_itself_is_silent() -> None:
    arm = started()
    arm.step()
    with pytest.raises(InputRefused) as refused:
        arm.sense()
    assert refused.value.kind == "repeated joint state"


@pytest.mark.parametrize("position", [[np.nan, 0.0], [0.0], [[0.0, 0.0]], [0.0, np.inf]])
def test_an_unusable_joint_state_is_refused(position: Any) -> None:
    with pytest.raises(InputRefused, match="2 finite"):
        Arm().sense(position)


def test_a_joint_state_that_comes_late_is_dropped_and_a_clock_that_jumps_back_starts_anew() -> None:
    arm = started(boundary="block")
    arm.step()
    arm.stamp -= PERIOD
    with pytest.raises(InputRefused) as refused:
        arm.sense()
    assert refused.value.kind == "joint state out of order"
    arm.stamp = 1
    arm.sense((0.1, 0.1))
    assert record(arm.tick()).source is Source.HOLD  # the chunk was of another time


def engaged(arm: Arm, *, command: float = 0.3, phase: TakeOver = TakeOver.ENGAGED) -> None:
    human = Intervention(phase, 1.0, np.full(2, command), "joy", arm.stamp)
    arm.controller.intervention(human, arm.now)


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
    arm.controller.e_stop(True, arm.now)
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
    arm.controller.e_stop(True, arm.now)
    stopped = arm.step()
    assert (record(stopped).source, stopped.request) == (Source.HOLD, None)
    arm.controller.e_stop(False, arm.now)
    arm.later()
    arm.sense()
    outcome = arm.tick()
    assert record(outcome).source is Source.HOLD
    assert outcome.request is not None


def test_an_e_stop_that_must_speak_and_does_not_stops_the_arm() -> None:
    arm = started(e_stop_timeout=0.1)
    assert record(arm.step()).source is Source.HOLD
    assert arm.controller.why_held == authority.E_STOP
    arm.controller.e_stop(False, arm.now)
    arm.step()
    assert record(arm.step()).source is Source.VLA


def test_whoever_joins_in_the_middle_of_an_episode_holds_and_counts_no_steps() -> None:
    arm = Arm(lock_step=True)
    arm.phase(Phase.CRITICAL)
    arm.later(20)
    arm.sense()
    outcome = arm.tick()
    assert arm.controller.lost_count
    assert outcome.command is not None
    assert (outcome.command.record, outcome.request) == (None, None)
    arm.phase(Phase.RESETTING, 2)
    arm.phase(Phase.APPROACH, 2)
    arm.later()
    arm.sense()
    assert arm.tick().request is not None
    assert not arm.controller.lost_count


def test_a_real_arm_that_lags_is_not_told_to_jump_back_when_an_episode_begins() -> None:
    arm = started()
    for _ in range(5):
        arm.step()
    before = arm.commands[-1].target
    arm.phase(Phase.DONE, ending=Ending.FAILURE)
    arm.phase(Phase.APPROACH, 2)
    arm.later()
    arm.sense(before - 0.05)
    arm.tick()
    np.testing.assert_array_equal(arm.commands[-1].target, before)


def test_lock_step_cannot_overlap() -> None:
    with pytest.raises(ConfigError, match="lock-step needs block"):
        ControlConfig(lock_step=True, boundary="overlap")


ANY = st.floats(width=32, allow_nan=True, allow_infinity=True)
PAIR = st.tuples(ANY, ANY)
EVENT = st.one_of(
    st.tuples(st.just("sense"), PAIR),
    st.tuples(st.just("human"), PAIR),
    st.tuples(st.just("let go"), PAIR),
    st.tuples(st.just("chunk"), PAIR),
    st.tuples(st.just("critical"), PAIR),
    st.tuples(st.just("reset"), PAIR),
    st.tuples(st.just("stop"), PAIR),
    st.tuples(st.just("wait"), PAIR),
)


@settings(max_examples=150, deadline=None)
@given(events=st.lists(EVENT, min_size=5, max_size=40), boundary=st.sampled_from(["block", "overlap"]))
def test_no_input_makes_a_command_leave_the_limits(
    events: list[tuple[str, tuple[float, float]]], boundary: str
) -> None:
    limits = dataclasses.replace(LIMITS, acceleration=np.full(2, 5.0), deviation=1.0)
    arm = Arm(limits, boundary=boundary)
    arm.sense()
    arm.phase(Phase.APPROACH)
    arm.tick()
    begun = {0}  # commands before which the arm may have been put elsewhere
    for what, (a, b) in events:
        arm.later()
        if what == "reset":
            begun.add(len(arm.commands))
        with contextlib.suppress(ValueError):
            _send(arm, what, np.array([a, b]))
        arm.tick()
    targets = np.array([command.target for command in arm.commands])
    assert np.isfinite(targets).all()
    assert (np.abs(targets) <= 1.0).all()
    moves = np.diff(targets, axis=0)
    placed = [
        i for i in begun if 0 < i <= len(moves) and (np.abs(moves[i - 1]) > 0.4).any()
    ]  # beyond the lead
    for moved in np.split(moves, sorted({i + d for i in placed for d in (-1, 0)})):
        if len(moved) == 1 and placed:
            continue
        assert (np.abs(moved) <= 1.0 / HZ + 1e-12).all()
        assert (np.abs(np.diff(moved, axis=0)) <= 5.0 / HZ**2 + 1e-12).all()


def _send(arm: Arm, what: str, values: np.ndarray) -> None:
    if what == "sense":
        arm.sense(values)
    elif what == "human":
        engaged_command = Intervention(TakeOver.ENGAGED, 1.0, values, "joy", arm.stamp)
        arm.controller.intervention(engaged_command, arm.now)
    elif what == "let go":
        engaged(arm, phase=TakeOver.RELEASED)
    elif what == "chunk":
        action = np.broadcast_to(values.astype(np.float32), (CHUNK, 2))
        arm.offer(arm.ids, action=action, reference=action, source=Source.ACTOR)
    elif what == "critical":
        arm.phase(Phase.CRITICAL)
    elif what == "reset":
        arm.phase(Phase.RESETTING)
        arm.phase(Phase.APPROACH)
    elif what == "stop":
        arm.controller.e_stop(bool(values[0] > 0), arm.now)
    elif what == "wait":
        arm.later(5)
