"""Steps and episodes from joint states and commands alone: at the control rate, cut by gaps and by the clock."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlt_ros.bags.labels import Segment
from rlt_ros.bags.sampling import Sampler, SamplingConfig
from rlt_ros.perception import Observation
from rlt_ros.replay.stream import ChunkRequest, EpisodeOutcome, EpisodeState, Phase, StepRecord
from rlt_ros.rlt.transition import Source

# ns
PERIOD, JOINT_PERIOD = 20_000_000, 10_000_000
# ns by which the recording's clock is ahead of the robot's.
AHEAD = 5_000_000_000
EVER = Segment(0, 10**19, 0, EpisodeOutcome.SUCCESS, "the bag")


class Recording:
    """Robot whose joint k is at t + k and is commanded to t + 10 + k, t in ms."""

    def __init__(self, *segments: Segment, stamped: bool = True) -> None:
        self.dropped: list[tuple[str, str]] = []
        self.records: list[Any] = []
        self.stamped = stamped
        self.sampler = Sampler(
            PERIOD,
            [[0], [1]],
            segments or (EVER,),
            SamplingConfig(),
            max_observation_age=100_000_000,
            source=Source.HUMAN,
            task="t",
            instruction="i",
            on_reject=lambda kind, reason: self.dropped.append((kind, reason)),
        )

    def plays(
        self, start: int, stop: int, *, commands: bool = True, pictures: bool = True, ahead: int = AHEAD
    ) -> Recording:
        """From ``start`` to ``stop`` ms."""
        for moment in range(start * 10**6, stop * 10**6, JOINT_PERIOD):
            value = moment / 1e6
            if pictures and moment % PERIOD == 0:
                self.sampler.observe(Observation(moment, {}, np.zeros(2), np.zeros(2)))
            said = self.sampler.joints(moment + ahead, moment, np.array([value, value + 1]))
            self.records += said
            if commands and moment % PERIOD == 0:
                for part in (0, 1):
                    target = np.array([[value + 10 + part]])
                    self.sampler.command(moment + ahead, part, moment if self.stamped else 0, target)
        return self

    def ends(self) -> Recording:
        self.records += self.sampler.finish()
        return self

    @property
    def steps(self) -> list[StepRecord]:
        return [record for record in self.records if isinstance(record, StepRecord)]

    @property
    def outcomes(self) -> list[tuple[int, EpisodeOutcome, int]]:
        return [
            (record.episode, record.outcome, record.steps)
            for record in self.records
            if isinstance(record, EpisodeState) and record.phase is Phase.DONE
        ]


@pytest.mark.parametrize("stamped", [True, False])
def test_a_step_is_the_newest_command_and_joints_of_its_moment(stamped: bool) -> None:
    made = Recording(stamped=stamped).plays(100, 500).ends()
    assert [step.step for step in made.steps] == list(range(20))
    for step in made.steps:
        moment = step.stamp / 1e6
        assert moment == 100 + 20 * step.step
        assert step.command.tolist() == [moment + 10, moment + 11]
        assert step.measured.tolist() == [moment, moment + 1]
        assert step.source is Source.HUMAN
    assert made.outcomes == [(1, EpisodeOutcome.SUCCESS, 20)] and not made.dropped


def test_the_critical_phase_begins_where_the_label_says() -> None:
    start, critical, end = (AHEAD + ms * 10**6 for ms in (200, 300, 400))
    made = (
        Recording(Segment(start, end, critical, EpisodeOutcome.FAILURE, "labels x: entry 1"))
        .plays(100, 600)
        .ends()
    )
    assert [step.stamp // 10**6 for step in made.steps] == list(range(200, 400, 20))
    assert [record.step for record in made.records if isinstance(record, ChunkRequest)] == [5]
    assert made.outcomes == [(1, EpisodeOutcome.FAILURE, 5)]
    phases = [record.phase for record in made.records if isinstance(record, EpisodeState)]
    assert phases == [Phase.APPROACH, Phase.CRITICAL, Phase.DONE]


def test_an_episode_that_is_over_does_not_begin_again_where_the_recording_lags_a_little() -> None:
    segment = Segment(
        AHEAD + 200 * 10**6, AHEAD + 400 * 10**6, 0, EpisodeOutcome.ABORTED, "labels x: entry 1"
    )
    made = Recording(segment).plays(100, 460).plays(460, 600, ahead=AHEAD - 60 * 10**6).ends()
    assert made.outcomes == [(1, EpisodeOutcome.ABORTED, 10)] and not made.dropped


def test_the_critical_phase_begins_when_something_is_seen() -> None:
    made = Recording().plays(100, 160, pictures=False).plays(160, 300).ends()
    assert [record.step for record in made.records if isinstance(record, ChunkRequest)] == [3]
    assert made.outcomes == [(1, EpisodeOutcome.SUCCESS, 7)] and not made.dropped


def test_what_was_seen_before_a_gap_does_not_begin_the_critical_phase_after_it() -> None:
    made = Recording().plays(100, 300).plays(1500, 1600, pictures=False).plays(1600, 1700).ends()
    assert made.outcomes == [(1, EpisodeOutcome.ABORTED, 15), (2, EpisodeOutcome.SUCCESS, 5)]
    assert [record.step for record in made.records if isinstance(record, ChunkRequest)] == [0, 5]


def test_a_gap_cuts_and_the_last_part_has_the_outcome() -> None:
    made = Recording().plays(100, 300).plays(1500, 1700).ends()
    # The last joint state, of 290 ms, is good for 100 ms.
    assert made.outcomes == [(1, EpisodeOutcome.ABORTED, 15), (2, EpisodeOutcome.SUCCESS, 10)]
    assert [kind for kind, _ in made.dropped] == ["cut by a gap"]


def test_commands_that_stop_before_the_recording_does_take_no_outcome_away() -> None:
    made = Recording().plays(100, 300).plays(300, 3000, commands=False).ends()
    ((_, outcome, steps),) = made.outcomes
    # The last command holds for half a second.
    assert outcome is EpisodeOutcome.SUCCESS and 10 <= steps <= 36


def test_a_clock_that_is_set_back_cuts_and_is_counted() -> None:
    made = Recording().plays(5000, 5300).plays(100, 300).ends()
    assert [outcome for _, outcome, _ in made.outcomes] == [EpisodeOutcome.ABORTED, EpisodeOutcome.SUCCESS]
    assert [kind for kind, _ in made.dropped] == ["clock set back", "cut by a gap"]
    assert [step.stamp // 10**6 for step in made.steps] == [*range(5000, 5300, 20), *range(100, 300, 20)]


def test_an_arm_that_is_elsewhere_cuts_and_is_counted() -> None:
    made = Recording().plays(100, 300)
    made.records += made.sampler.joints(
        300 * 10**6 + AHEAD, 300 * 10**6, np.array([9.0, 9.0]), relocated=True
    )
    made.plays(310, 500).ends()
    assert [outcome for _, outcome, _ in made.outcomes] == [EpisodeOutcome.ABORTED, EpisodeOutcome.SUCCESS]
    assert [kind for kind, _ in made.dropped] == ["arm elsewhere", "cut by a gap"]


@pytest.mark.parametrize("leap", [1_500, 10**7])
def test_a_clock_that_leaps_ahead_cuts_and_is_counted(leap: int) -> None:
    start, end = (AHEAD + ms * 10**6 for ms in (200, 800))
    made = Recording(Segment(start, end, start, EpisodeOutcome.SUCCESS, "labels x: entry 1"))
    made.plays(100, 500).plays(500 + leap, 1000 + leap, ahead=AHEAD - leap * 10**6).ends()
    assert [(outcome, steps) for _, outcome, steps in made.outcomes] == [
        (EpisodeOutcome.ABORTED, 15),
        (EpisodeOutcome.SUCCESS, 15),
    ]
    assert [kind for kind, _ in made.dropped] == ["clock leapt ahead", "cut by a gap"]
    assert [step.stamp // 10**6 for step in made.steps] == [
        *range(200, 500, 20),
        *range(500 + leap, 800 + leap, 20),
    ]


def test_a_leap_of_a_single_stamp_never_ends_an_episode_as_a_success() -> None:
    made = Recording().plays(100, 300).plays(5000, 5010, ahead=AHEAD - 4_700 * 10**6)
    made.plays(310, 500).ends()
    *before, last = [outcome for _, outcome, _ in made.outcomes]
    assert set(before) == {EpisodeOutcome.ABORTED} and last is EpisodeOutcome.SUCCESS
    assert [kind for kind, _ in made.dropped][::2] == ["clock leapt ahead", "clock set back"]


def test_a_recorder_that_lags_for_a_while_does_not_end_an_episode() -> None:
    start = AHEAD + 200 * 10**6
    made = Recording(Segment(start, 10**19, start, EpisodeOutcome.SUCCESS, "labels x: entry 1"))
    # The recorder writes late, then on time again: the moments before that lie before the label's start.
    made.plays(100, 240, ahead=AHEAD + 40 * 10**6).plays(240, 400, ahead=AHEAD - 60 * 10**6).ends()
    ((_, outcome, _),) = made.outcomes
    assert outcome is EpisodeOutcome.SUCCESS and not made.dropped
    assert [step.stamp // 10**6 for step in made.steps] == list(range(160, 400, 20))


@settings(max_examples=100)
@given(
    st.lists(
        st.tuples(st.integers(2, 30), st.sampled_from([0, 300, 900, 1_100, 5_000, 10**9, -1_500, -(10**6)]))
    ),
    st.integers(0, 900),
    st.integers(10, 900),
)
def test_whatever_the_clock_does_only_the_last_part_has_the_outcome(
    parts: list[tuple[int, int]], start: int, seconds: int
) -> None:
    begin, end = (AHEAD + (10**7 + ms) * 10**6 for ms in (start, start + seconds))
    made = Recording(Segment(begin, end, begin, EpisodeOutcome.SUCCESS, "labels x: entry 1"))
    recorded, offset = 10**7, 0
    for periods, leap in parts:
        offset += leap
        until = recorded + 10 * periods
        made.plays(recorded + offset, until + offset, ahead=AHEAD - offset * 10**6)
        recorded = until
    outcomes = [outcome for _, outcome, _ in made.ends().outcomes]
    assert set(outcomes[:-1]) <= {EpisodeOutcome.ABORTED}
    assert len({step.stamp for step in made.steps}) == len(made.steps)


def test_a_clock_that_leaps_ahead_with_the_recording_costs_no_time() -> None:
    made = Recording().plays(100, 300).plays(10**12, 10**12 + 200).ends()
    assert [outcome for _, outcome, _ in made.outcomes][-1] is EpisodeOutcome.SUCCESS
    assert len(made.steps) == 25


def test_a_label_of_nothing_is_said() -> None:
    far = Segment(
        AHEAD + 10**12, AHEAD + 2 * 10**12, AHEAD + 10**12, EpisodeOutcome.SUCCESS, "labels x: entry 1"
    )
    made = Recording(far).plays(100, 300).ends()
    assert made.dropped == [
        ("episode without data", "labels x: entry 1: no commands and joint states were recorded in it")
    ]
