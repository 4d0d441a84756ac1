"""Joint targets from a twist of the tip, by damped least squares on the arm's kinematics."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from rlt_ros.robots.safety import Limits
from rlt_ros.teleop.config import TeleopConfig

Array = NDArray[np.float64]


class TipKinematics(Protocol):
    """Forward and differential inverse kinematics of the tip."""

    def forward(self, q: Array) -> Array:
        """Pose (4, 4) of the tip at joint positions (A,)."""
        ...

    def step_towards(self, q: Array, twist: Array, *, damping: float) -> Array:
        """Joint displacement (A,) for a small displacement (6,) of the tip."""
        ...


class Hand:
    """Joint target that follows the stick.

    Args:
        arm: kinematics.
        limits: limits of the arm; they bound the target and its distance from the arm.
        hz: control rate, 1/s.
        config: settings of teleoperation.
    """

    def __init__(self, arm: TipKinematics, limits: Limits, hz: float, config: TeleopConfig) -> None:
        self._arm, self._limits, self._dt, self._config = arm, limits, 1.0 / hz, config
        self._speed = np.repeat([config.linear_speed, config.angular_speed], 3)
        self._target: Array | None = None

    def begin(self, position: Array) -> None:
        """Start a take-over at joint positions (A,) rad."""
        self._target = np.clip(position, self._limits.lower, self._limits.upper)

    def move(self, twist: Array, measured: Array) -> Array:
        """Next joint target (A,) rad.

        Args:
            twist: (6,) shares of full speed.
            measured: (A,) rad; the target stays within the lead, so that a blocked arm does not wind it up.
        """
        assert self._target is not None, "move() before begin()"
        tip = twist * self._speed * self._dt
        if self._config.frame == "tip":
            turn = self._arm.forward(self._target)[:3, :3]
            tip = np.concatenate([turn @ tip[:3], turn @ tip[3:]])
        step = self._arm.step_towards(self._target, tip, damping=self._config.damping)
        # All joints are slowed together, to preserve the direction.
        step = step / max(1.0, float((np.abs(step) / (self._limits.velocity * self._dt)).max()))
        near = np.clip(self._target + step, measured - self._limits.lead, measured + self._limits.lead)
        self._target = np.clip(near, self._limits.lower, self._limits.upper)
        return self._target.copy()
