"""Newest intervention of the human, and the watchdog on it."""

from __future__ import annotations

import numpy as np

from rlt_ros.acting.records import InputRefused
from rlt_ros.acting.watchdog import Watchdog
from rlt_ros.robots.intervention import Intervention, TakeOver


class HumanInput:
    """Interventions of one arm.

    Args:
        dim: joints A of the arm.
        timeout: s without an intervention after which the newest one is too old.
        has_gripper: the robot has a gripper to command.
    """

    def __init__(self, dim: int, timeout: float, *, has_gripper: bool) -> None:
        self._dim, self._has_gripper = dim, has_gripper
        self._watchdog = Watchdog(timeout)
        self.newest = Intervention(TakeOver.RELEASED, 0.0, np.zeros(0))
        """Newest intervention."""

    def check(self, human: Intervention) -> None:
        """Raise InputRefused for a command of a wrong shape, or for a gripper that the robot lacks."""
        if human.phase.commands and human.command.shape != (self._dim,):
            raise InputRefused(
                "unusable intervention", f"command of {human.command.shape}; the arm has {self._dim} joints"
            )
        if human.gripper is not None and not self._has_gripper:
            raise InputRefused(
                "no gripper to command",
                "the robot's profile has no `gripper`; add the section, or send no gripper command",
            )

    def update(self, human: Intervention, time: int) -> None:
        """Accept a checked intervention at `time`, ns."""
        self.newest = human
        self._watchdog.feed(time)

    def expire(self) -> None:
        """Treat the newest intervention as too old: the clock was set back."""
        self._watchdog.reset()

    @property
    def has_arm(self) -> bool:
        """Return whether the human took over and has not released the arm."""
        return self.newest.phase is not TakeOver.RELEASED

    def timed_out(self, time: int) -> bool:
        """Return whether the newest intervention is too old at `time`, ns."""
        return self._watchdog.expired(time)
