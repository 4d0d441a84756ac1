"""What the gripper is commanded: where a human wants it, no faster than it may go, and there it stays."""

from __future__ import annotations

import numpy as np

from rlt_ros.robots.gripper import GripperProfile


class Gripper:
    """Follows the human; whoever else commands the arm leaves it alone.

    Args:
        profile: of the gripper.
        hz: control rate, 1/s.
    """

    def __init__(self, profile: GripperProfile, hz: float) -> None:
        self._profile = profile
        way = abs(profile.closed - profile.open)
        self._most = 1.0 if profile.speed is None else profile.speed / way / hz
        self._measured: float | None = None
        self._share: float | None = None

    @property
    def command(self) -> float | None:
        """What to send, in the robot's unit; None until a human commanded the gripper for the first time."""
        return None if self._share is None else self._profile.value(self._share)

    def measure(self, share: float) -> None:
        """Take in where it is, 0 open to 1 closed: the first command begins there."""
        self._measured = share

    def move(self, share: float) -> None:
        """Go towards a share of the way for one control step; unmeasured, the first command is the end itself."""
        begin = self._measured if self._share is None else self._share
        self._share = (
            share if begin is None else begin + float(np.clip(share - begin, -self._most, self._most))
        )

    def forget(self) -> None:
        """Command nothing until a human does again: others may have moved it."""
        self._share = None
