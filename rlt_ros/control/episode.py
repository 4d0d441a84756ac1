"""Episode that the executor takes part in: its steps, and the reason for which it must be aborted."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from rlt_ros.control.authority import Choice
from rlt_ros.rlt.stream import EpisodeState, Phase, StepRecord

Array = NDArray[np.float64]

# ns into the critical phase; steps that are counted from later on have wrong numbers.
_JOINED_LATE = 300_000_000
# ns in which those episode states come that were latched before the newest.
_OLDER_STATES = 300_000_000

LOST_COUNT = "the executor started in the middle of the episode"


class RunningEpisode:
    """Follows the episode states, and counts control steps from 0 at the beginning of each approach."""

    def __init__(self) -> None:
        self.state = EpisodeState(0, Phase.IDLE)
        """Newest state."""
        self.step = 0
        """Next control step."""
        self._seen = 0
        # From when on the episode is to be aborted, ns, and why.
        self._abort: tuple[int, str] | None = None

    @property
    def runs(self) -> bool:
        """Return whether it is in a phase in which a policy acts."""
        return self.state.phase in (Phase.APPROACH, Phase.CRITICAL)

    @property
    def acts(self) -> bool:
        """Return whether a policy may act in it: it runs, and is not to be aborted."""
        return self.runs and self._abort is None

    @property
    def reason(self) -> str:
        """Reason for which nobody acts in it any more although it runs; empty for none."""
        return "" if self._abort is None or not self.runs else self._abort[1]

    def take(self, state: EpisodeState) -> tuple[bool, bool]:
        """Take in a state; returns whether the phase changed, and whether another episode begins to run."""
        before, self.state = self.state, state
        if (state.episode, state.phase) == (before.episode, before.phase):
            return False, False
        if not self.runs or state.episode == self._seen:
            return True, False
        self._seen, self.step, self._abort = state.episode, 0, None
        return True, True

    def join(self, now: int, stamp: int) -> None:
        """Take in the control step of ROS time `stamp`, ns: the first one must be near the beginning.

        The abort is due only 0.3 s later: a node that joins late receives the latest episodes one after the other, and
        only the last may run.
        """
        critical = self.state.phase is Phase.CRITICAL
        if self.acts and critical and self.step == 0 and stamp - self.state.stamp > _JOINED_LATE:
            self._abort = now + _OLDER_STATES, LOST_COUNT

    def abort(self, now: int, reason: str) -> None:
        """Let nobody act in it any more, because of `reason`; nothing where nobody does."""
        if self.acts:
            self._abort = now, reason

    def must_abort(self, now: int) -> str:
        """Reason for which it must be aborted at steady time `now`, ns; empty for none."""
        due = self._abort is not None and now >= self._abort[0]
        return self.reason if due else ""

    def record(self, choice: Choice, stamp: int, command: Array, measured: Array, limits: int) -> StepRecord:
        """Record of the next control step, which counts it.

        Args:
            choice: source and row that act.
            stamp: ROS time, ns.
            command: (A,) rad, setpoint of the arm.
            measured: (A,) rad.
            limits: bits of the limits that changed the command.
        """
        step = StepRecord(
            stamp=stamp,
            episode=self.state.episode,
            step=self.step,
            source=choice.source,
            command=command.astype(np.float32),
            measured=measured.astype(np.float32),
            limits=limits,
        )
        self.step += 1
        if choice.row is None:
            return step
        chunk = choice.row.chunk
        return dataclasses.replace(
            step,
            chunk=chunk.chunk,
            row=choice.row.index,
            observation=chunk.stamp,
            version=chunk.version,
            lineage=chunk.lineage,
        )
