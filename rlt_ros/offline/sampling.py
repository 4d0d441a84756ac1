"""Steps and episodes from a recording of a robot alone: its joint states, its commands, and what it saw.

Control steps are sampled at the robot's control rate: the newest command that is not later than the step, and the
newest measured joints next to it. Time is that of the joint states; a command without a stamp came when it was
recorded, on that clock. Where the clock leaps, back or ahead, or no command or joint state came, the episode is cut.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from rlt_ros.offline.labels import Segment
from rlt_ros.perception import Observation
from rlt_ros.rlt.parameters import check, parameter
from rlt_ros.rlt.stream import ChunkRequest, Ending, EpisodeState, Phase, StepRecord
from rlt_ros.rlt.transition import Source

T = TypeVar("T")

Array = NDArray[np.float64]
Record: TypeAlias = "Observation | StepRecord | EpisodeState | ChunkRequest"

_NS = 1e9
_SETTLE = 50_000_000  # ns that a step waits for what was recorded after it and is older
_AGREES = 500_000_000  # ns between a command's own stamp and its recording; beyond, it is of another clock
_KEPT = 32  # observations kept while no episode runs: those before its first step, a quarter of a second at 120 Hz


@dataclass(frozen=True)
class SamplingConfig:
    """What counts as a gap."""

    command_gap: float = parameter(
        0.5,
        help="An episode is cut where the newest command is older than this.",
        unit="s",
        low=0.001,
        source="ours; planners that send way points do so several times a second",
    )
    joint_gap: float = parameter(
        0.1, help="An episode is cut where the newest joint state is older than this.", unit="s", low=0.001
    )
    clock_jump: float = parameter(
        1.0,
        help="Joint states that leap by more, back or ahead of the recording, are of a clock that was set, and cut the "
        "episode; those that step back by less are out of order.",
        unit="s",
        low=0.01,
    )

    def __post_init__(self) -> None:
        check(self)


@dataclass
class _Piece:
    """An episode that runs: steps without a gap."""

    number: int
    segment: Segment
    steps: int = 0  # executed so far
    start: int | None = None  # first step of the critical phase
    last: int = 0  # stamp of the last step, ns


class Sampler:
    """Samples in, in the order in which they were recorded; records of steps and episodes out.

    Args:
        period: of control, ns.
        parts: places of each driver's joints in the arm's.
        segments: the episodes, in their order, on the clock of the recording.
        config: what counts as a gap.
        sight: ns; oldest observation that a state is computed from. The critical phase, whose rows count from its first
            state on, begins when there is one.
        source: whose commands they are.
        task, instruction: what was to be done.
        drop: told of everything that is not used: its kind in two or three words, and this one with its values.
    """

    def __init__(
        self,
        period: int,
        parts: Sequence[Sequence[int]],
        segments: Sequence[Segment],
        config: SamplingConfig,
        *,
        sight: int,
        source: Source,
        task: str,
        instruction: str,
        drop: Callable[[str, str], None],
    ) -> None:
        self._period, self._segments, self._sight, self._source = period, list(segments), sight, source
        self._task, self._instruction, self._drop = task, instruction, drop
        self._command_gap, self._joint_gap, self._jump = (
            round(seconds * _NS) for seconds in (config.command_gap, config.joint_gap, config.clock_jump)
        )
        self._parts = [list(places) for places in parts]
        self._forget()
        # Of the newest joint state: by how much the recording's clock is ahead of theirs, and its time of recording.
        self._ahead = self._arrived = 0
        self._observations: list[Observation] = []
        self._piece: _Piece | None = None
        self._paused: _Piece | None = None  # one that lacked input, until it is known whether it goes on
        self._number = 0
        self._out: list[Record] = []
        self._used: set[str] = set()

    def joints(self, recorded: int, stamp: int, position: Array, *, relocated: bool = False) -> list[Record]:
        """Take measured positions (A,) rad; returns the records that are complete.

        Args:
            recorded: when they were recorded, ns.
            stamp: on the clock of the joint states, ns.
            position: (A,) rad.
            relocated: the arm cannot have moved there from the positions before.
        """
        newest = self._joints.newest
        if newest is not None:
            if newest - self._jump <= stamp <= newest:
                self._drop(
                    "joint state out of order", f"{(newest - stamp) / _NS:.3f} s older than the newest"
                )
                return []
            # What a pause of the recording explains is none: both clocks go on meanwhile.
            leap = (stamp - newest) - (recorded - self._arrived)
            if stamp < newest:
                self._cut(newest, stamp, "clock set back", f"step back by {(newest - stamp) / _NS:.3f} s")
            elif leap > self._jump:
                self._cut(newest, stamp, "clock leapt ahead", f"leap ahead by {leap / _NS:.3f} s")
            elif relocated:
                self._cut(newest, stamp, "arm elsewhere", "are where the arm cannot have moved to")
        self._ahead, self._arrived = recorded - stamp, recorded
        self._joints.add(stamp, (position, self._ahead))
        self._drain(stamp - _SETTLE)
        return self._said()

    def command(self, recorded: int, part: int, stamp: int, targets: Array) -> None:
        """Take a driver's joint targets (K, J) rad, one row a control period; ``stamp`` is 0 where they have none."""
        came = recorded - self._ahead
        moment = stamp if stamp and abs(stamp - came) <= _AGREES else came
        track = self._commands[part]
        track.cut(moment)  # it stands in for what was commanded before for then
        for number, target in enumerate(targets):
            track.add(moment + number * self._period, target)

    def observe(self, observation: Observation) -> None:
        """Take what the cameras saw; it is said when the step that it precedes is."""
        self._observations.append(observation)
        if self._piece is None:
            del self._observations[:-_KEPT]

    def finish(self) -> list[Record]:
        """The recording is over."""
        if self._joints.newest is not None:
            self._drain(self._joints.newest)
        self._pause()
        self._close(goes_on=False)
        for segment in self._segments:
            if segment.name not in self._used:
                self._drop(
                    "episode without data",
                    f"{segment.name}: no commands and joint states were recorded in it",
                )
        return self._said()

    def _said(self) -> list[Record]:
        out, self._out = self._out, []
        return out

    def _cut(self, newest: int, stamp: int, kind: str, reason: str) -> None:
        """End what runs at the newest joint state; the clock was set before the one of ``stamp``."""
        self._drop(kind, f"joint states {reason}; the episode is cut there")
        after = [one for one in self._observations if abs(one.stamp - stamp) < abs(one.stamp - newest)]
        self._observations = [
            one for one in self._observations if abs(one.stamp - stamp) >= abs(one.stamp - newest)
        ]
        self._drain(newest)
        piece = self._piece or self._paused
        over = piece is not None and self._recorded(newest) >= piece.segment.end
        self._pause()
        self._close(goes_on=not over)
        self._forget()
        self._observations = after

    def _forget(self) -> None:
        self._commands: list[_Track[Array]] = [_Track() for _ in self._parts]
        # Positions (A,) rad, and by how much the recording's clock was ahead.
        self._joints: _Track[tuple[Array, int]] = _Track()
        self._next: int | None = None  # when the next step is, ns
        self._seen: int | None = None  # stamp of the newest observation that was said

    @property
    def _tracks(self) -> Iterator[tuple[_Track[Any], int]]:
        """Inputs, and how old their newest may be, ns."""
        yield from ((track, self._command_gap) for track in self._commands)
        yield self._joints, self._joint_gap

    def _drain(self, until: int) -> None:
        """Make the steps up to and with ``until``, ns."""
        while True:
            moment = self._next if self._piece else self._beginning(self._next)
            if moment is None or moment > until:
                break
            self._step(moment)
        horizon = self._next if self._piece and self._next is not None else until
        for track, gap in self._tracks:
            track.forget(horizon - gap)

    def _step(self, moment: int) -> None:
        segment = self._segment(moment)
        piece = self._piece
        if piece is not None and self._recorded(moment) >= piece.segment.end:
            # It is over, also where the two clocks drift and meet it again.
            self._segments.remove(piece.segment)
            self._pause()
            self._close(goes_on=False)
            self._next = moment
            return
        if not self._is_fresh(moment):
            self._pause()
            self._next = moment + 1
            return
        if piece is None:
            # Steps begin where a segment is, see `_beginning`.
            assert segment is not None
            piece = self._begin(segment)
        self._release(moment)
        self._follow(piece, moment)
        target = np.zeros(sum(map(len, self._parts)), np.float32)
        for places, track in zip(self._parts, self._commands, strict=True):
            target[places] = track.value(moment)
        self._out.append(
            StepRecord(
                stamp=moment,
                episode=piece.number,
                step=piece.steps,
                source=self._source,
                command=target,
                measured=self._joints.value(moment)[0].astype(np.float32),
            )
        )
        piece.steps, piece.last = piece.steps + 1, moment
        self._next = moment + self._period

    def _beginning(self, moment: int | None) -> int | None:
        """The first moment, from one on, at which there are a command, joints and a segment; None while it is open."""
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
        """A moment on the clock of the recording, as it was then, ns."""
        return moment + (self._ahead if self._joints.at(moment) is None else self._joints.value(moment)[1])

    def _begin(self, segment: Segment) -> _Piece:
        self._close(goes_on=self._paused is not None and self._paused.segment is segment)
        self._number += 1
        self._used.add(segment.name)
        self._piece = _Piece(self._number, segment)
        return self._piece

    def _follow(self, piece: _Piece, moment: int) -> None:
        """Say where the episode is, and have the states of its critical phase computed."""
        sees = self._seen is not None and moment - self._seen <= self._sight
        critical = self._recorded(moment) >= piece.segment.critical and sees
        if piece.steps == 0 and not critical:
            self._say(piece, Phase.APPROACH, moment)
        if critical and piece.start is None:
            piece.start = piece.steps
            self._say(piece, Phase.CRITICAL, moment)
            self._out.append(ChunkRequest(moment, piece.number, piece.steps, Phase.CRITICAL, overlap=True))

    def _say(
        self, piece: _Piece, phase: Phase, moment: int, ending: Ending = Ending.NONE, reward: float = 0.0
    ) -> None:
        self._out.append(
            EpisodeState(
                episode=piece.number,
                phase=phase,
                ending=ending,
                task=self._task,
                instruction=self._instruction,
                reward=reward,
                steps=0 if piece.start is None else piece.steps - piece.start,
                stamp=moment,
            )
        )

    def _release(self, moment: int) -> None:
        """Say the observations up to ``moment``."""
        count = sum(1 for one in self._observations if one.stamp <= moment)
        if count:
            self._seen = self._observations[count - 1].stamp
            self._out += self._observations[:count]
            del self._observations[:count]

    def _pause(self) -> None:
        if self._piece is not None:
            self._paused, self._piece = self._piece, None

    def _close(self, *, goes_on: bool) -> None:
        """End the episode that paused: by its label, or cut where it ``goes_on`` after the gap."""
        piece, self._paused = self._paused, None
        if piece is None:
            return
        if piece.start is None:
            self._drop(
                "not critical",
                f"{piece.segment.name}: a part of it ends before its critical phase, or before anything was seen",
            )
        elif goes_on:
            self._drop(
                "cut by a gap", f"{piece.segment.name}: after {piece.steps} steps nothing came for a while"
            )
        final = piece.last + self._period
        self._release(final)
        if self._observations:  # one that is later shows that none before it is missing
            self._release(self._observations[0].stamp)
        ending, reward = (Ending.ABORTED, 0.0) if goes_on else (piece.segment.ending, piece.segment.reward)
        self._say(piece, Phase.DONE, final, ending, reward)


class _Track(Generic[T]):
    """Values in the order of their times."""

    def __init__(self) -> None:
        self._times: list[int] = []
        self._values: list[T] = []

    @property
    def first(self) -> int | None:
        return self._times[0] if self._times else None

    @property
    def newest(self) -> int | None:
        return self._times[-1] if self._times else None

    def add(self, moment: int, value: T) -> None:
        self._times.append(moment)
        self._values.append(value)

    def cut(self, moment: int) -> None:
        """Drop what is at ``moment`` or later."""
        index = bisect_left(self._times, moment)
        del self._times[index:], self._values[index:]

    def at(self, moment: int) -> int | None:
        """When the newest at ``moment`` or before is."""
        index = bisect_right(self._times, moment)
        return self._times[index - 1] if index else None

    def value(self, moment: int) -> T:
        """The newest at ``moment`` or before, which there is."""
        return self._values[bisect_right(self._times, moment) - 1]

    def after(self, moment: int) -> int | None:
        """When the next one after ``moment`` is."""
        index = bisect_right(self._times, moment)
        return self._times[index] if index < len(self._times) else None

    def forget(self, moment: int) -> None:
        """Drop what is older than the newest at ``moment``."""
        index = bisect_right(self._times, moment) - 1
        if index > 0:
            del self._times[:index], self._values[:index]
