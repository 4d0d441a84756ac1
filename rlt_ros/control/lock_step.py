"""Pacing by the simulator: each joint state is answered by one command, after its chunk has come."""

from __future__ import annotations

from rlt_ros.control.config import ControlConfig
from rlt_ros.robots.intervention import Intervention, TakeOver


class LockStep:
    """Waits for what belongs to a joint state, and not for ever.

    Args:
        config: of the executor.
    """

    def __init__(self, config: ControlConfig) -> None:
        self.on = config.lock_step
        """Lock-step is in use; otherwise a steady clock sets the pace."""
        self._chunk_patience = round(config.chunk_timeout * 1e9)
        self._human_patience = round(config.intervention_timeout * 1e9)
        # When the joint state came that is to be answered, steady time in ns; None without one.
        self._due: int | None = None

    @property
    def is_due(self) -> bool:
        """Return whether a joint state is to be answered."""
        return self._due is not None

    def sense(self, now: int) -> None:
        """Take in that a joint state came at steady time `now`, ns."""
        self._due = now

    def answer(self) -> None:
        """Take in that the joint state was answered, or is of the past."""
        self._due = None

    def has_given_up(self, now: int) -> bool:
        """Return whether the chunk was waited for too long."""
        return self.on and self._due is not None and now - self._due >= self._chunk_patience

    def waits(self, now: int, *, has_plan: bool, human: Intervention | None, stamp: int) -> bool:
        """Return whether to wait for the chunk, or for the command of a human who acts at this moment.

        Args:
            now: steady time, ns.
            has_plan: the chunk has come.
            human: newest intervention; None before the first.
            stamp: of the joint state, ns.
        """
        assert self._due is not None
        acts = human is not None and human.phase is not TakeOver.RELEASED and human.stamp < stamp
        patience = self._chunk_patience if not has_plan else self._human_patience if acts else 0
        return now - self._due < patience
