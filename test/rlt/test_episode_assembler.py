"""Streams that arrive apart become the same rows as those of one process, and nothing wrong becomes a row."""

from __future__ import annotations

import dataclasses
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from stream_source import GAMMA, LINEAGE, SHAPES, SPACE, STRIDE, Stream, rows, stream

from rlt_ros.replay.episode_assembler import AssembledEpisode, EpisodeAssembler, RowSpec
from rlt_ros.replay.stream import EpisodeOutcome, EpisodeState, StateRecord, StepRecord
from rlt_ros.rlt.transition import RowOutcome, Window


class Sink:
    """An assembly and what it refused."""

    def __init__(self, *, offset: int = 0) -> None:
        self.refused: list[tuple[str, str]] = []
        self.assembler = EpisodeAssembler(
            STRIDE, lambda kind, reason: self.refused.append((kind, reason)), offset=offset
        )
        self.assembler.spec = RowSpec(SHAPES, SPACE.encode, LINEAGE, GAMMA)

    def give(self, *records: StateRecord | StepRecord | EpisodeState) -> list[AssembledEpisode]:
        done = []
        for record in records:
            if isinstance(record, StateRecord):
                self.assembler.add_state(record)
            elif isinstance(record, StepRecord):
                self.assembler.add_step(record)
            else:
                self.assembler.add_episode(record)
            done += self.assembler.take()
        return done

    def overdue(self) -> list[Window]:
        """Available rows of incomplete episodes."""
        done = self.assembler.take(overdue=frozenset(self.assembler.waiting))
        return [window for one in done for window in one.windows]


def same(found: list[Window], expected: list[Window]) -> bool:
    assert [(w.episode, w.step) for w in found] == [(w.episode, w.step) for w in expected]
    for one, other in zip(found, expected, strict=True):
        for field in dataclasses.fields(Window):
            np.testing.assert_array_equal(getattr(one, field.name), getattr(other, field.name), field.name)
    return True


@given(
    seed=st.integers(0, 2**32),
    steps=st.integers(1, 25),
    start=st.integers(0, 5),
    outcome=st.sampled_from(
        [EpisodeOutcome.SUCCESS, EpisodeOutcome.FAILURE, EpisodeOutcome.TIMEOUT, EpisodeOutcome.ABORTED]
    ),
)
def test_rows_do_not_depend_on_the_order_of_arrival(
    seed: int, steps: int, start: int, outcome: EpisodeOutcome
) -> None:
    made = stream(steps=steps, start=start, outcome=outcome)
    records = made.records
    random.Random(seed).shuffle(records)
    sink = Sink()
    done = sink.give(*records)
    assert [one.complete for one in done] == [True]
    assert same(done[0].windows, rows(made))
    assert not sink.refused


def test_an_end_waits_for_the_states_that_are_still_computed() -> None:
    made, sink = stream(steps=15), Sink()
    *early, last = made.states
    assert sink.give(*early, *made.steps, made.end) == []
    assert sink.assembler.waiting == [1]
    assert same(sink.give(last)[0].windows, rows(made))
    assert sink.assembler.waiting == []


@pytest.mark.parametrize("flag", ["discarded", "evaluation"])
def test_evaluations_and_withdrawn_episodes_leave_no_rows(flag: str) -> None:
    sink = Sink()
    done = sink.give(*stream(**{flag: True}).records)
    assert [one.windows for one in done] == [[]]
    assert not sink.refused


def test_an_episode_without_a_critical_phase_leaves_no_rows() -> None:
    sink = Sink()
    done = sink.give(*stream(steps=0, outcome=EpisodeOutcome.ABORTED).records)
    assert done[0].windows == [] and done[0].complete


@pytest.mark.parametrize("lost", [5, 8, 9, 16])
def test_no_row_spans_a_step_that_is_missing(lost: int) -> None:
    made, sink = stream(steps=30, start=3), Sink()
    sink.give(*(r for r in made.records if not (isinstance(r, StepRecord) and r.step == lost)))
    kept = sink.overdue()
    assert all(not w.step <= lost < w.step + w.valid for w in kept)
    whole = {(w.episode, w.step): w for w in rows(made)}
    assert same(kept, [whole[w.episode, w.step] for w in kept])
    assert kept[-1].outcome is RowOutcome.SUCCESS  # everything from the gap to the end is there
    assert [kind for kind, _ in sink.refused] == ["incomplete"] and f"step {lost} " in sink.refused[0][1]


@pytest.mark.parametrize("lost", [5, 11, 31])
def test_rows_that_a_missing_state_does_not_touch_are_right(lost: int) -> None:
    made, sink = stream(steps=30, start=3), Sink()
    sink.give(*(r for r in made.records if not (isinstance(r, StateRecord) and r.state.step == lost)))
    kept = sink.overdue()
    whole = {(w.episode, w.step): w for w in rows(made)}
    assert kept and same(kept, [whole[w.episode, w.step] for w in kept])
    assert lost not in {w.step for w in kept} | {w.step + SHAPES.chunk for w in kept if not w.terminated}
    assert (kept[-1].outcome is RowOutcome.SUCCESS) == (lost < 31)


def test_a_time_out_without_its_last_state_is_cut_where_the_last_one_was_seen() -> None:
    made, sink = stream(steps=16, start=0, outcome=EpisodeOutcome.TIMEOUT), Sink()
    sink.give(*made.steps, *made.states[:-1], made.end)
    kept = sink.overdue()
    assert kept[-1].truncated and kept[-1].outcome is RowOutcome.TRUNCATED
    assert kept[-1].step + kept[-1].valid == 14
    np.testing.assert_array_equal(kept[-1].next_z, made.states[-2].state.z)


def test_steps_behind_the_end_are_no_part_of_the_episode() -> None:
    made, longer = stream(steps=11), stream(steps=15)
    sink = Sink()
    states = [r for r in longer.states if r.state.step < 3 + 11]
    done = sink.give(*states, *longer.steps, dataclasses.replace(longer.end, steps=11))
    expected = rows(Stream(states, longer.steps[: 3 + 11], done[0].end))
    assert same(done[0].windows, expected) and len(expected) == len(rows(made))


def test_what_comes_twice_is_counted_and_stored_once() -> None:
    made, sink = stream(), Sink()
    done = sink.give(*made.states, *made.states, *made.steps, *made.steps, made.end)
    assert same(done[0].windows, rows(made))
    assert sink.assembler.duplicates == len(made.states) + len(made.steps)
    assert sink.give(made.end) == [] and not sink.refused


def test_nothing_is_used_after_the_steps_began_to_be_counted_anew() -> None:
    made, sink = stream(steps=30), Sink()
    sink.give(*(r for r in made.records[:-1] if not isinstance(r, StepRecord) or r.step < 20))
    again = [dataclasses.replace(step, stamp=step.stamp + 10**10) for step in made.steps]
    done = sink.give(*again, made.end)
    whole = {w.step: w for w in rows(made)}
    assert same(done[0].windows, [whole[w.step] for w in done[0].windows])
    assert all(w.step + w.valid <= 20 and w.outcome is RowOutcome.NONE for w in done[0].windows)
    assert sink.refused[0][0] == "executed twice"


@pytest.mark.parametrize("part", ["vla", "token", "stats"])
def test_what_other_frozen_parts_made_is_refused_by_name(part: str) -> None:
    foreign = stream(lineage=dataclasses.replace(LINEAGE, **{part: "other"}))
    sink = Sink()
    sink.give(*foreign.records)
    assert sink.overdue() == []
    assert {kind for kind, _ in sink.refused} == {"other lineage"}
    assert f"{part} `other`" in sink.refused[0][1]


def test_a_success_without_reward_is_refused() -> None:
    made, sink = stream(), Sink()
    done = sink.give(*made.records[:-1], dataclasses.replace(made.end, reward=0.0))
    assert done[0].windows == [] and sink.refused[0][0] == "contradiction"


def test_a_withdrawal_that_comes_after_the_rows_were_made_is_said_to_be_too_late() -> None:
    made, sink = stream(), Sink()
    sink.give(*made.records)
    sink.give(dataclasses.replace(made.end, discarded=True))
    assert sink.refused[0][0] == "withdrawn too late"


def test_robots_do_not_share_episode_numbers() -> None:
    made, sink = stream(), Sink(offset=1000)
    assert same(sink.give(*made.records)[0].windows, rows(made, offset=1000))


def test_episodes_that_never_end_do_not_pile_up() -> None:
    sink = Sink()
    for number in range(1, 14):
        sink.give(*stream(number).records[:-1])
    assert [kind for kind, _ in sink.refused] == ["without end"] * 3
    assert same(sink.give(stream(13).end)[0].windows, rows(stream(13)))


def test_many_episodes_may_come_in_one_go_after_a_stall() -> None:
    sink, made = Sink(), [stream(number) for number in range(1, 21)]
    sink.give(*(one.end for one in made))
    for one in reversed(made):
        assert same(sink.give(*one.records[:-1])[0].windows, rows(one))
    assert not sink.refused


def test_without_a_recipe_an_episode_ends_without_rows() -> None:
    sink = Sink()
    sink.assembler.spec = None
    assert [one.windows for one in sink.give(*stream().records)] == [[]]
