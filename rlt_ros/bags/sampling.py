"""Steps and episodes from a robot's recording without the graph: joint states, commands and camera observations.

Control steps are sampled at the robot's control rate: the newest command that is not later than the step, with the
newest measured joints. The clock is that of the joint states; a command without a stamp gets its recording time on that
clock. A jump of the clock, back or ahead, or a gap in commands or joint states cuts the episode.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from rlt_ros.bags.labels import Segment
from rlt_ros.bags.timed_values import TimedValues
from rlt_ros.perception import Observation
from rlt_ros.replay.stream import ChunkRequest, EpisodeOutcome, EpisodeState, Phase, StepRecord
from rlt_ros.rlt.transition import Source
from rlt_ros.store.parameters import check, parameter

Array = NDArray[np.float64]
Record: TypeAlias = "Observation | StepRecord | EpisodeState | ChunkRequest"

_NS = 1e9
REORDER_WINDOW_NS = 50_000_000
"""Delay of a step for older messages that are recorded after it."""
MAX_STAMP_OFFSET_NS = 500_000_000
"""Between a command's stamp and its recording; more means another clock."""
IDLE_OBSERVATIONS = 32
"""Observations kept between episodes: those before the first step, a quarter of a second at 120 Hz."""


@dataclass(frozen=True)
class SamplingConfig:
    """Gaps that cut an episode."""

    command_gap: float = parameter(
        0.5,
        help="Age of the newest command that cuts an episode.",
        unit="s",
        low=0.001,
        source="ours; planners that send way points send several per second",
    )
    joint_gap: float = parameter(
        0.1, help="Age of the newest joint state that cuts an episode.", unit="s", low=0.001
    )
    clock_jump: float = parameter(
        1.0,
        help="Jump of the joint states' clock, back or ahead of the recording, that cuts an episode; after a smaller "
        "step back, a state is out of order.",
        unit="s",
        low=0.01,
    )

    def __post_init__(self) -> None:
        check(self)


@dataclass
class _OpenEpisode:
    """Episode in progress: steps without a gap.

    Attributes:
        steps: executed so far.
        start: first step of the critical phase.
        last: stamp of the last step, ns.
    """

    number: int
    segment: Segment
    steps: int = 0
    start: int | None = None
    last: int = 0


class Sampler:
    """Conversion of recorded samples, in the order of recording, to records of steps and episodes.

    Args:
        period: control period, ns.
        parts: indices of each driver's joints in the arm.
        segments: episodes in their order, on the recording's clock.
        config: gaps that cut an episode.
        max_observation_age: oldest observation of a state, ns. The critical phase, whose rows count from its first
            state, begins with the first such observation.
        source: origin of the commands.
        task, instruction: task of the episodes.
        on_reject: called with kind and detail of everything that is not used.
    """

    def __init__(
        self,
        period: int,
        parts: Sequence[Sequence[int]],
        segments: Sequence[Segment],
        config: SamplingConfig,
        *,
        max_observation_age: int,
        source: Source,
        task: str,
        instruction: str,
        on_reject: Callable[[str, str], None],
    ) -> None:
        self._period, self._segments, self._source = period, list(segments), source
        self._max_observation_age = max_observation_age
        self._task, self._instruction, self._on_reject = task, instruction, on_reject
        self._command_gap, self._joint_gap, self._jump = (
            round(seconds * _NS) for seconds in (config.command_gap, config.joint_gap, config.clock_jump)
        )
        self._parts = [list(places) for places in parts]
        self._clear()
        # Of the newest joint state: recording time minus stamp, and recording time.
        self._ahead = self._arrived = 0
        self._observations: list[Observation] = []
        self._open: _OpenEpisode | None = None
        # Episode without input, until it continues or ends.
        self._paused: _OpenEpisode | None = None
        self._number = 0
        self._out: list[Record] = []
        self._used: set[str] = set()

    def joints(self, recorded: int, stamp: int, position: Array, *, relocated: bool = False) -> list[Record]:
        """Add measured joint positions and return the completed records.

        Args:
            recorded: recording time, ns.
            stamp: time on the clock of the joint states, ns.
            position: (A,) rad.
            relocated: the arm cannot have moved there from the previous positions.
        """
        newest = self._joints.newest
        if newest is not None:
            if newest - self._jump <= stamp <= newest:
                self._on_reject(
                    "joint state out of order", f"{(newest - stamp) / _NS:.3f} s older than the newest"
                )
                return []
            # A pause of the recording is no jump: both clocks advance during it.
            leap = (stamp - newest) - (recorded - self._arrived)
            if stamp < newest:
                self._cut(newest, stamp, "clock set back", f"step back by {(newest - stamp) / _NS:.3f} s")
            elif leap > self._jump:
                self._cut(newest, stamp, "clock leapt ahead", f"leap ahead by {leap / _NS:.3f} s")
            elif relocated:
                self._cut(
                    newest, stamp, "arm elsewhere", "are out of the arm's reach since the previous ones"
                )
        self._ahead, self._arrived = recorded - stamp, recorded
        self._joints.add(stamp, (position, self._ahead))
        self._drain(stamp - REORDER_WINDOW_NS)
        return self._take_output()

    def command(self, recorded: int, part: int, stamp: int, targets: Array) -> None:
        """Add a driver's joint targets (K, J) rad, one row per control period; ``stamp`` is 0 without one."""
        arrived = recorded - self._ahead
        moment = stamp if stamp and abs(stamp - arrived) <= MAX_STAMP_OFFSET_NS else arrived
        track = self._commands[part]
        # It replaces earlier commands for later times.
        track.cut(moment)
        for number, target in enumerate(targets):
            track.add(moment + number * self._period, target)

    def observe(self, observation: Observation) -> None:
        """Add a camera observation; it is output before the step that it precedes."""
        self._observations.append(observation)
        if self._open is None:
            del self._observations[:-IDLE_OBSERVATIONS]

    def finish(self) -> list[Record]:
        """Return the remaining records at the end of the recording."""
        if self._joints.newest is not None:
            self._drain(self._joints.newest)
        self._pause()
        self._close(continues=False)
        for segment in self._segments:
            if segment.name not in self._used:
                self._on_reject(
                    "episode without data",
                    f"{segment.name}: no commands and joint states were recorded in it",
                )
        return self._take_output()

    def _take_output(self) -> list[Record]:
        out, self._out = self._out, []
        return out

    def _cut(self, newest: int, stamp: int, kind: str, reason: str) -> None:
        """Cut the episode at the newest joint state, before the clock jump to ``stamp``."""
        self._on_reject(kind, f"joint states {reason}; the episode is cut there")
        after = [one for one in self._observations if abs(one.stamp - stamp) < abs(one.stamp - newest)]
        self._observations = [
            one for one in self._observations if abs(one.stamp - stamp) >= abs(one.stamp - newest)
        ]
        self._drain(newest)
        episode = self._open or self._paused
        over = episode is not None and self._recorded(newest) >= episode.segment.end
        self._pause()
        self._close(continues=not over)
        self._clear()
        self._observations = after

    def _clear(self) -> None:
        self._commands: list[TimedValues[Array]] = [TimedValues() for _ in self._parts]
        # Positions (A,) rad, and recording time minus stamp.
        self._joints: TimedValues[tuple[Array, int]] = TimedValues()
        # Time of the next step, ns.
        self._next: int | None = None
        # Stamp of the newest output observation.
        self._observed: int | None = None

    @property
    def _tracks(self) -> Iterator[tuple[TimedValues[Any], int]]:
        """Inputs and their largest age, ns."""
        yield from ((track, self._command_gap) for track in self._commands)
        yield self._joints, self._joint_gap

    def _drain(self, until: int) -> None:
        """Sample the steps up to and including ``until``, ns."""
        while True:
            moment = self._next if self._open else self._beginning(self._next)
            if moment is None or moment > until:
                break
            self._step(moment)
        horizon = self._next if self._open and self._next is not None else until
        for track, gap in self._tracks:
            track.trim(horizon - gap)

    def _step(self, moment: int) -> None:
        segment = self._segment(moment)
        episode = self._open
        if episode is not None and self._recorded(moment) >= episode.segment.end:
            # The segment is used up, even if drifting clocks reach it again.
            self._segments.remove(episode.segment)
            self._pause()
            self._close(continues=False)
            self._next = moment
            return
        if not self._is_fresh(moment):
            self._pause()
            self._next = moment + 1
            return
        if episode is None:
            # Steps begin inside a segment, see `_beginning`.
            assert segment is not None
            episode = self._begin(segment)
        self._emit_observations(moment)
        self._update_phase(episode, moment)
        target = np.zeros(sum(map(len, self._parts)), np.float32)
        for places, track in zip(self._parts, self._commands, strict=True):
            target[places] = track.value(moment)
        self._out.append(
            StepRecord(
                stamp=moment,
                episode=episode.number,
                step=episode.steps,
                source=self._source,
                command=target,
                measured=self._joints.value(moment)[0].astype(np.float32),
            )
        )
        episode.steps, episode.last = episode.steps + 1, moment
        self._next = moment + self._period

    def _beginning(self, moment: int | None) -> int | None:
        """First time from ``moment`` on with a command, joints and a segment; None so far."""
        if moment is None:
            firsts = [track.first for track, _ in self._tracks]
            moment = None if None in firsts else max(first for first in firsts if first is not None)
        while moment is not None:
            before = moment
            for track, gap in self._tracks:
                found = track.at(moment)
                if found is None or moment - found > gap:
                    moment = track.after(moment)
                    if moment is None:
                        return None
            if self._segment(moment) is None:
                recorded = self._recorded(moment)
                later = [segment.start - recorded for segment in self._segments if segment.start > recorded]
                if not later:
                    return None
                moment += min(later)
            if moment == before:
                return moment
        return None

    def _is_fresh(self, moment: int) -> bool:
        return all(
            (found := track.at(moment)) is not None and moment - found <= gap for track, gap in self._tracks
        )

    def _segment(self, moment: int) -> Segment | None:
        recorded = self._recorded(moment)
        return next((one for one in self._segments if one.start <= recorded < one.end), None)

    def _recorded(self, moment: int) -> int:
        """Recording time of a moment on the clock of the joint states, ns."""
        return moment + (self._ahead if self._joints.at(moment) is None else self._joints.value(moment)[1])

    def _begin(self, segment: Segment) -> _OpenEpisode:
        self._close(continues=self._paused is not None and self._paused.segment is segment)
        self._number += 1
        self._used.add(segment.name)
        self._open = _OpenEpisode(self._number, segment)
        return self._open

    def _update_phase(self, episode: _OpenEpisode, moment: int) -> None:
        """Emit the episode's phase, and request the states of its critical phase."""
        observed = self._observed is not None and moment - self._observed <= self._max_observation_age
        critical = self._recorded(moment) >= episode.segment.critical and observed
        if episode.steps == 0 and not critical:
            self._emit_state(episode, Phase.APPROACH, moment)
        if critical and episode.start is None:
            episode.start = episode.steps
            self._emit_state(episode, Phase.CRITICAL, moment)
            self._out.append(
                ChunkRequest(moment, episode.number, episode.steps, Phase.CRITICAL, overlap=True)
            )

    def _emit_state(
        self,
        episode: _OpenEpisode,
        phase: Phase,
        moment: int,
        outcome: EpisodeOutcome = EpisodeOutcome.NONE,
        reward: float = 0.0,
    ) -> None:
        self._out.append(
            EpisodeState(
                episode=episode.number,
                phase=phase,
                outcome=outcome,
                task=self._task,
                instruction=self._instruction,
                reward=reward,
                steps=0 if episode.start is None else episode.steps - episode.start,
                stamp=moment,
            )
        )

    def _emit_observations(self, moment: int) -> None:
        """Emit the observations up to ``moment``."""
        count = sum(1 for one in self._observations if one.stamp <= moment)
        if count:
            self._observed = self._observations[count - 1].stamp
            self._out += self._observations[:count]
            del self._observations[:count]

    def _pause(self) -> None:
        if self._open is not None:
            self._paused, self._open = self._open, None

    def _close(self, *, continues: bool) -> None:
        """End the paused episode: by its label, or as cut if its segment ``continues`` after the gap."""
        episode, self._paused = self._paused, None
        if episode is None:
            return
        segment = episode.segment
        if episode.start is None:
            self._on_reject(
                "not critical",
                f"{segment.name}: a part of it ends before its critical phase, or before the first observation",
            )
        elif continues:
            self._on_reject(
                "cut by a gap", f"{segment.name}: commands or joint states paused after {episode.steps} steps"
            )
        final = episode.last + self._period
        self._emit_observations(final)
        # A later one shows that none before it is missing.
        if self._observations:
            self._emit_observations(self._observations[0].stamp)
        outcome, reward = (EpisodeOutcome.ABORTED, 0.0) if continues else (segment.outcome, segment.reward)
        self._emit_state(episode, Phase.DONE, final, outcome, reward)
