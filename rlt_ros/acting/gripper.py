"""Gripper command: follows the human at limited speed, and keeps its last value otherwise."""

from __future__ import annotations

import numpy as np

from rlt_ros.robots.gripper import GripperProfile


class Gripper:
    """Command of one gripper.

    Args:
        profile: of the gripper.
        hz: control rate, 1/s.
    """

    def __init__(self, profile: GripperProfile, hz: float) -> None:
        self._profile = profile
        stroke = abs(profile.closed - profile.open)
        # Greatest change of the share per control step.
        self._step = 1.0 if profile.speed is None else profile.speed / stroke / hz
        self._measured: float | None = None
        self._share: float | None = None

    @property
    def command(self) -> float | None:
        """Command in the robot's unit; None before the first command of a human."""
        return None if self._share is None else self._profile.value(self._share)

    def measure(self, share: float) -> None:
        """Record the measured share, 0 open to 1 closed; the first command starts there."""
        self._measured = share

    def move(self, share: float) -> None:
        """Move towards a share for one control step; without a measurement the first command is the target itself."""
        begin = self._measured if self._share is None else self._share
        self._share = (
            share if begin is None else begin + float(np.clip(share - begin, -self._step, self._step))
        )

    def forget(self) -> None:
        """Drop the command: another node may have moved the gripper."""
        self._share = None
