"""Episode of the executor: its step count, and the reason to abort it."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from rlt_ros.acting.authority import Decision
from rlt_ros.replay.stream import EpisodeState, Phase, StepRecord

Array = NDArray[np.float64]

# ns after the start of the critical phase; joining later makes step numbers unreliable.
_MAX_JOIN_DELAY = 300_000_000
# ns in which older latched episode states arrive before the newest.
_LATCHED_STATES_DELAY = 300_000_000

JOINED_LATE = "the executor started in the middle of the episode"


class RunningEpisode:
    """Newest episode state, and control steps counted from 0 at the start of each approach."""

    def __init__(self) -> None:
        self.state = EpisodeState(0, Phase.IDLE)
        """Newest state."""
        self.step = 0
        """Next control step."""
        self._newest = 0
        # Steady time, ns, from which the episode must be aborted, and the reason.
        self._abort: tuple[int, str] | None = None

    @property
    def runs(self) -> bool:
        """Return whether the episode is in a phase in which a policy acts."""
        return self.state.phase in (Phase.APPROACH, Phase.CRITICAL)

    @property
    def acts(self) -> bool:
        """Return whether a policy may act: the episode runs and need not be aborted."""
        return self.runs and self._abort is None

    @property
    def reason(self) -> str:
        """Reason to abort the running episode; empty for none."""
        return "" if self._abort is None or not self.runs else self._abort[1]

    def update(self, state: EpisodeState) -> tuple[bool, bool]:
        """Accept a state; return whether the phase changed, and whether a new episode starts to run."""
        before, self.state = self.state, state
        if (state.episode, state.phase) == (before.episode, before.phase):
            return False, False
        if not self.runs or state.episode == self._newest:
            return True, False
        self._newest, self.step, self._abort = state.episode, 0, None
        return True, True

    def check_start(self, now: int, stamp: int) -> None:
        """Abort an episode whose first control step, at ROS time `stamp`, ns, is late.

        The abort is due 0.3 s later: a node that joins late receives the latched states of several episodes in turn,
        and only the last may run.
        """
        critical = self.state.phase is Phase.CRITICAL
        if self.acts and critical and self.step == 0 and stamp - self.state.stamp > _MAX_JOIN_DELAY:
            self._abort = now + _LATCHED_STATES_DELAY, JOINED_LATE

    def abort(self, now: int, reason: str) -> None:
        """Let no policy act any further because of `reason`; no effect if none may act already."""
        if self.acts:
            self._abort = now, reason

    def abort_reason(self, now: int) -> str:
        """Reason to abort the episode at steady time `now`, ns; empty for none, or before it is due."""
        due = self._abort is not None and now >= self._abort[0]
        return self.reason if due else ""

    def record(
        self, decision: Decision, stamp: int, command: Array, measured: Array, limits: int
    ) -> StepRecord:
        """Record and count the next control step.

        Args:
            decision: source and row of the step.
            stamp: ROS time, ns.
            command: (A,) rad, setpoint of the arm.
            measured: (A,) rad.
            limits: bits of the limits that changed the command.
        """
        step = StepRecord(
            stamp=stamp,
            episode=self.state.episode,
            step=self.step,
            source=decision.source,
            command=command.astype(np.float32),
            measured=measured.astype(np.float32),
            limits=limits,
        )
        self.step += 1
        if decision.row is None:
            return step
        chunk = decision.row.chunk
        return dataclasses.replace(
            step,
            chunk=chunk.chunk,
            row=decision.row.index,
            observation=chunk.stamp,
            version=chunk.version,
            lineage=chunk.lineage,
        )
