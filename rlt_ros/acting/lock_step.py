"""Pacing by the simulator: each joint state is answered by one command, after its chunk has arrived."""

from __future__ import annotations

from rlt_ros.acting.config import ControlConfig
from rlt_ros.acting.human import HumanInput


class LockStep:
    """Answer that the simulator waits for, and its time-outs.

    Args:
        config: of the executor.
    """

    def __init__(self, config: ControlConfig) -> None:
        self.on = config.lock_step
        """Lock-step is in use; otherwise a steady clock sets the pace."""
        self._chunk_timeout = round(config.chunk_timeout * 1e9)
        self._human_timeout = round(config.intervention_timeout * 1e9)
        # Arrival of the joint state without an answer, ns of steady time.
        self._due: int | None = None

    def is_early(self, *, running: bool) -> bool:
        """Return whether no control step is due: no joint state waits for an answer, or no episode runs."""
        return self.on and (self._due is None or not running)

    def expect_answer(self, now: int) -> None:
        """Record a joint state at steady time `now`, ns."""
        self._due = now

    def answer(self) -> None:
        """Record that the joint state was answered, or is outdated."""
        self._due = None

    def chunk_timed_out(self, now: int) -> bool:
        """Return whether the time to wait for the chunk is over."""
        return self.on and self._due is not None and now - self._due >= self._chunk_timeout

    def waits(self, now: int, *, has_plan: bool, human: HumanInput, stamp: int) -> bool:
        """Return whether to wait for the chunk, or for the intervention of this step.

        Args:
            now: steady time, ns.
            has_plan: the chunk has arrived.
            human: newest intervention.
            stamp: of the joint state, ns.
        """
        if not self.on or self._due is None:
            return False
        acts = human.has_arm and human.newest.stamp < stamp
        timeout = self._chunk_timeout if not has_plan else self._human_timeout if acts else 0
        return now - self._due < timeout
