"""The life of an episode: who may move it on, where it ends, and what belongs to it."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlt_ros.episodes.machine import Assignment, EpisodeConfig, EpisodeMachine, Event
from rlt_ros.episodes.plan import Kind
from rlt_ros.replay.stream import EpisodeOutcome, EpisodeState, Phase
from rlt_ros.rlt.transition import Source

PERIOD = 20


class Bench:
    """A machine, the time, and a robot that executes one step every period from stamp 1000 on."""

    def __init__(self, **config: Any) -> None:
        self.dropped: Counter[str] = Counter()
        self.machine = EpisodeMachine(EpisodeConfig(**config), lambda kind, _: self.dropped.update([kind]))
        self.now, self.stamp, self.step, self.episode = 0.0, 1000, 0, 0

    def begin(self, *, kind: Kind = Kind.TRAIN, approach: int = 20, critical: int = 10) -> None:
        self.episode += 1
        self.step = 0
        self.machine.begin(
            Assignment(self.episode, 77, kind, "charger", "plug it in", approach, critical),
            self.stamp,
            self.now,
        )

    def event(self, event: Event, **options: Any) -> None:
        self.machine.event(event, **{"stamp": self.stamp, "now": self.now, **options})

    def run(self, steps: int, source: Source = Source.VLA) -> None:
        for _ in range(steps):
            self.machine.step(self.episode, self.step, self.stamp, source, self.now)
            self.step += 1
            self.stamp += PERIOD

    def hand_over(self) -> None:
        """To the critical phase, four steps after the reset."""
        self.event(Event.RESET_DONE)
        self.run(4)
        self.event(Event.HAND_OVER)
        self.machine.chunk_requested(self.episode, self.step, critical=True)

    def tick(self, seconds: float) -> None:
        self.now += seconds
        self.machine.tick(self.stamp, self.now)

    @property
    def state(self) -> EpisodeState:
        return self.machine.state

    def finished(self) -> Any:
        (done,) = self.machine.take_finished()
        return done


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_an_episode_goes_from_reset_to_success(bench: Bench) -> None:
    bench.begin()
    bench.hand_over()
    bench.run(6, Source.ACTOR)
    bench.event(Event.SUCCESS, stamp=bench.stamp - PERIOD)
    news = bench.machine.take_states()
    assert [state.phase for state in news] == [Phase.RESETTING, Phase.APPROACH, Phase.CRITICAL, Phase.DONE]
    assert {(state.episode, state.seed, state.task, state.instruction) for state in news} == {
        (1, 77, "charger", "plug it in")
    }
    assert (bench.state.outcome, bench.state.reward, bench.state.steps) == (EpisodeOutcome.SUCCESS, 1.0, 6)
    assert bench.state.stamp == bench.stamp - PERIOD  # of the last step
    done = bench.finished()
    assert (done.outcome, done.steps, done.actor_acted, done.critical) == (
        EpisodeOutcome.SUCCESS,
        6,
        True,
        True,
    )
    assert bench.machine.may_begin


def test_the_label_may_come_before_the_step_that_caused_it(bench: Bench) -> None:
    bench.begin()
    bench.hand_over()
    bench.run(5)
    bench.event(Event.SUCCESS, stamp=bench.stamp)
    assert bench.state.phase is Phase.CRITICAL
    bench.run(1)
    assert (bench.state.outcome, bench.state.steps) == (EpisodeOutcome.SUCCESS, 6)


def test_steps_after_the_one_that_ended_it_do_not_belong_to_the_episode(bench: Bench) -> None:
    bench.begin()
    bench.hand_over()
    bench.run(6)
    caused = bench.stamp - PERIOD
    bench.run(3, Source.HUMAN)
    bench.event(Event.FAILURE, stamp=caused)
    assert (bench.state.steps, bench.state.stamp, bench.state.reward) == (6, caused, 0.0)
    bench.run(3)
    assert bench.state.steps == 6
    assert bench.finished().human_share == 0.0


def test_a_label_between_two_steps_belongs_to_the_earlier_one(bench: Bench) -> None:
    bench.begin()
    bench.hand_over()
    bench.run(6)
    bench.event(Event.SUCCESS, stamp=bench.stamp - 5)
    assert bench.state.phase is Phase.CRITICAL
    bench.run(1)
    assert (bench.state.steps, bench.state.stamp) == (6, bench.stamp - 2 * PERIOD)


def test_a_step_that_never_comes_is_not_waited_for_for_ever(bench: Bench) -> None:
    bench.begin()
    bench.hand_over()
    bench.run(6)
    bench.event(Event.SUCCESS, stamp=bench.stamp + 10 * PERIOD)
    bench.tick(0.5)
    assert bench.state.phase is Phase.CRITICAL
    bench.tick(0.6)
    assert (bench.state.outcome, bench.state.steps) == (EpisodeOutcome.SUCCESS, 6)


def test_time_is_up_only_when_a_step_beyond_the_limit_is_executed(bench: Bench) -> None:
    bench.begin(critical=10)
    bench.hand_over()
    bench.run(10)
    assert bench.state.phase is Phase.CRITICAL  # the tenth may have been the one that succeeded
    bench.run(1)
    assert (bench.state.outcome, bench.state.steps) == (EpisodeOutcome.TIMEOUT, 10)
    assert bench.state.stamp == bench.stamp - 2 * PERIOD


def test_success_with_the_very_last_step_counts(bench: Bench) -> None:
    bench.begin(critical=10)
    bench.hand_over()
    bench.run(10)
    bench.event(Event.SUCCESS, stamp=bench.stamp - PERIOD)
    assert (bench.state.outcome, bench.state.steps) == (EpisodeOutcome.SUCCESS, 10)


def test_a_human_who_took_over_gets_time_to_finish(bench: Bench) -> None:
    bench.begin(critical=10)
    bench.hand_over()
    bench.run(8, Source.ACTOR)
    bench.run(12, Source.HUMAN)
    assert bench.state.phase is Phase.CRITICAL
    bench.run(1, Source.HUMAN)
    assert (bench.state.outcome, bench.state.steps) == (EpisodeOutcome.TIMEOUT, 20)
    assert bench.finished().human_share == pytest.approx(12 / 20)


def test_steps_of_the_approach_that_come_late_are_not_counted(bench: Bench) -> None:
    bench.begin()
    bench.event(Event.RESET_DONE)
    bench.run(4)
    bench.event(Event.HAND_OVER)
    bench.run(1, Source.VLA)  # the executor had not heard yet
    bench.machine.chunk_requested(1, bench.step, critical=True)
    bench.run(6, Source.ACTOR)
    bench.event(Event.SUCCESS, stamp=bench.stamp - PERIOD)
    assert bench.state.steps == 6


def test_without_a_request_counting_begins_at_the_hand_over(bench: Bench) -> None:
    bench.begin()
    bench.event(Event.RESET_DONE)
    bench.run(4)
    handed = bench.stamp
    bench.run(2)
    bench.event(Event.HAND_OVER, stamp=handed)
    bench.run(5)
    bench.event(Event.SUCCESS, stamp=bench.stamp - PERIOD)
    assert bench.state.steps == 5


def test_a_lost_step_message_does_not_change_the_count(bench: Bench) -> None:
    bench.begin()
    bench.hand_over()
    bench.run(3)
    bench.step, bench.stamp = bench.step + 1, bench.stamp + PERIOD
    bench.run(3)
    bench.event(Event.SUCCESS, stamp=bench.stamp - PERIOD)
    assert bench.state.steps == 7


def test_a_tool_that_is_not_brought_near_ends_the_episode(bench: Bench) -> None:
    bench.begin(approach=20)
    bench.event(Event.RESET_DONE)
    bench.run(20)
    assert bench.state.phase is Phase.APPROACH
    bench.run(1)
    assert (bench.state.outcome, bench.state.steps) == (EpisodeOutcome.TIMEOUT, 0)
    assert not bench.finished().critical


@pytest.mark.parametrize(
    ("phase", "refused"),
    [
        (Phase.IDLE, {Event.RESET_DONE, Event.HAND_OVER, Event.SUCCESS, Event.FAILURE, Event.ABORT}),
        (Phase.RESETTING, {Event.HAND_OVER, Event.SUCCESS, Event.FAILURE, Event.START}),
        (Phase.APPROACH, {Event.RESET_DONE, Event.SUCCESS, Event.START}),
        (Phase.CRITICAL, {Event.RESET_DONE, Event.HAND_OVER, Event.START}),
        (Phase.DONE, {Event.RESET_DONE, Event.HAND_OVER, Event.SUCCESS, Event.ABORT, Event.RE_RECORD}),
    ],
)
def test_events_out_of_place_are_counted_and_change_nothing(phase: Phase, refused: set[Event]) -> None:
    for event in refused:
        bench = Bench()
        if phase is not Phase.IDLE:
            bench.begin()
        if phase is Phase.APPROACH:
            bench.event(Event.RESET_DONE)
        if phase in (Phase.CRITICAL, Phase.DONE):
            bench.hand_over()
            bench.run(2)
        if phase is Phase.DONE:
            bench.event(Event.ABORT)
        before = bench.state
        assert before.phase is phase
        bench.event(event)
        assert bench.state is before
        assert bench.dropped == {f"{event.name} out of place": 1}


def test_a_second_label_changes_nothing(bench: Bench) -> None:
    bench.begin()
    bench.hand_over()
    bench.run(2)
    bench.event(Event.SUCCESS, stamp=bench.stamp)
    bench.event(Event.FAILURE, stamp=bench.stamp)
    bench.run(1)
    assert bench.state.outcome is EpisodeOutcome.SUCCESS
    assert bench.dropped == {"FAILURE out of place": 1}


def test_events_of_other_episodes_and_of_before_are_counted(bench: Bench) -> None:
    bench.begin()
    bench.hand_over()
    bench.event(Event.SUCCESS, episode=9)
    bench.event(Event.SUCCESS, stamp=bench.state.stamp - 1)
    bench.run(3)
    assert bench.state.phase is Phase.CRITICAL
    assert bench.dropped == {"event of another episode": 1, "early label": 1}


def test_steps_that_come_twice_or_of_another_episode_are_not_counted(bench: Bench) -> None:
    bench.begin()
    bench.hand_over()
    bench.run(3)
    bench.machine.step(1, bench.step - 1, bench.stamp, Source.ACTOR, 0.0)
    bench.machine.step(5, 99, bench.stamp, Source.ACTOR, 0.0)
    bench.event(Event.SUCCESS, stamp=bench.stamp - PERIOD)
    assert bench.state.steps == 3
    assert bench.dropped == {"step out of order": 1}


def test_an_abort_cuts_where_the_robot_is(bench: Bench) -> None:
    bench.begin()
    bench.hand_over()
    bench.run(3)
    bench.event(Event.ABORT, stamp=5)  # whoever aborts may have another clock
    assert (bench.state.outcome, bench.state.steps) == (EpisodeOutcome.ABORTED, 3)
    assert not bench.state.discarded
    assert not bench.finished().repeat


def test_re_recording_discards_and_repeats(bench: Bench) -> None:
    bench.begin()
    bench.hand_over()
    bench.run(3)
    bench.event(Event.RE_RECORD)
    assert (bench.state.outcome, bench.state.discarded) == (EpisodeOutcome.ABORTED, True)
    assert bench.finished().repeat
    bench.begin()
    assert not bench.state.discarded


def test_an_operator_stops_and_starts() -> None:
    bench = Bench(auto_start=False)
    assert not bench.machine.may_begin
    bench.event(Event.START)
    assert bench.machine.may_begin
    bench.begin()
    bench.event(Event.STOP)
    bench.event(Event.ABORT)
    assert not bench.machine.may_begin
    assert "operator" in bench.machine.stop_reason
    bench.event(Event.START)
    assert bench.machine.may_begin
    bench.begin()
    bench.event(Event.ABORT)
    assert not bench.machine.may_begin  # each one is started


def test_the_e_stop_aborts_and_blocks_until_it_is_released(bench: Bench) -> None:
    bench.begin()
    bench.hand_over()
    bench.machine.e_stop(True)
    assert bench.state.outcome is EpisodeOutcome.ABORTED
    assert not bench.machine.may_begin
    bench.machine.e_stop(False)
    assert bench.machine.may_begin


def test_a_reset_is_asked_for_again_and_then_given_up() -> None:
    bench = Bench(reset_timeout=10.0, reset_attempts=3)
    bench.begin()
    bench.tick(9.0)
    assert len(bench.machine.take_states()) == 1
    bench.stamp += 1
    bench.tick(2.0)
    (again,) = bench.machine.take_states()
    assert (again.phase, again.episode, again.stamp) == (Phase.RESETTING, 1, bench.stamp)
    bench.tick(11.0)
    bench.tick(11.0)
    assert bench.state.outcome is EpisodeOutcome.ABORTED
    assert not bench.machine.may_begin
    assert "START" in bench.machine.stop_reason
    bench.event(Event.START)
    assert bench.machine.may_begin


def test_silence_of_the_executor_aborts() -> None:
    bench = Bench(silence=5.0)
    bench.begin()
    bench.tick(20.0)  # a reset may take its time
    bench.event(Event.RESET_DONE)
    bench.tick(4.0)
    bench.run(1)
    bench.tick(4.0)
    assert bench.state.phase is Phase.APPROACH
    bench.tick(2.0)
    assert bench.state.outcome is EpisodeOutcome.ABORTED


def test_an_evaluation_says_so(bench: Bench) -> None:
    bench.begin(kind=Kind.EVAL_RLT)
    assert bench.state.eval
    bench.event(Event.ABORT)
    bench.begin(kind=Kind.WARMUP)
    assert not bench.state.eval


_ORDER = [Phase.RESETTING, Phase.APPROACH, Phase.CRITICAL, Phase.DONE]


@given(
    st.lists(
        st.one_of(
            st.tuples(st.sampled_from(Event), st.integers(-100, 100), st.integers(0, 2)),
            st.sampled_from(["step", "tick", "request", "stop", "release", "begin"]),
        ),
        max_size=60,
    )
)
def test_whatever_comes_in_episodes_are_told_in_order_and_each_once(inputs: list[Any]) -> None:
    bench = Bench(reset_timeout=2.0, silence=3.0)
    told, finished = [], []
    for value in inputs:
        if value == "step":
            bench.run(1, Source.ACTOR)
        elif value == "tick":
            bench.tick(0.7)
        elif value == "request":
            bench.machine.chunk_requested(bench.episode, bench.step, critical=True)
        elif value in ("stop", "release"):
            bench.machine.e_stop(value == "stop")
        elif value == "begin":
            if bench.machine.may_begin:
                bench.begin(critical=5)
        else:
            event, offset, episode = value
            bench.event(event, stamp=bench.stamp + offset, episode=episode)
        told += bench.machine.take_states()
        finished += bench.machine.take_finished()
    for episode in range(1, bench.episode + 1):
        mine = [state for state in told if state.episode == episode]
        places = [_ORDER.index(state.phase) for state in mine]
        assert places[0] == 0
        assert places == sorted(places)
        assert places.count(3) <= 1
        assert places.count(3) == 1 or episode == bench.episode
        for state in mine:
            assert state.steps == 0 or state.phase is Phase.DONE
            assert (state.reward > 0) == (state.outcome is EpisodeOutcome.SUCCESS)
            assert state.steps <= 10
    ended = [state for state in told if state.phase is Phase.DONE]
    assert [(d.assignment.episode, d.outcome, d.steps) for d in finished] == [
        (state.episode, state.outcome, state.steps) for state in ended
    ]
