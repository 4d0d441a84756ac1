"""What a device says, and what that means: a twist of the tip, whether the human acts, and buttons."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rlt_ros.teleop.config import BUTTONS, GRIPPER, UNUSED, TeleopConfig

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Raw:
    """State of a device.

    Attributes:
        axes: in [-1, 1], numbered as in `sensor_msgs/Joy`.
        buttons: 1 while held, numbered as in `sensor_msgs/Joy`.
        connection: number of times that the device was connected; 0 where its driver does not say.
    """

    axes: Sequence[float] = ()
    buttons: Sequence[int] = ()
    connection: int = 0

    def same_device(self, other: Raw) -> bool:
        """Return whether both can be of one device that was connected all the while."""
        # A SpaceMouse gets more buttons as they are pressed.
        same = len(self.axes) == len(other.axes) and len(self.buttons) <= len(other.buttons)
        return same and self.connection == other.connection


@dataclass(frozen=True)
class Sample:
    """What the human does.

    Attributes:
        twist: (6,) linear, then angular velocity, as shares of full speed in [-1, 1].
        acts: whether the human has the arm, or wants it.
        held: meanings of the buttons that are held, of `BUTTONS`.
    """

    twist: Array
    acts: bool
    held: frozenset[str]


class Interpreter:
    """Raw samples in, their meaning out; a device that lacks an axis or a button never moves or presses it.

    Args:
        config: of teleoperation, completed.
    """

    def __init__(self, config: TeleopConfig) -> None:
        self._config = config

    def __call__(self, raw: Raw) -> Sample:
        """The meaning of a sample; numbers that are not finite count as no deflection."""
        twist = np.array([self._axis(raw, i) for i in range(6)])
        held = frozenset(name for name in BUTTONS if self._any_held(raw, getattr(self._config, name)))
        if self._config.dead_man:
            acts = self._any_held(raw, self._config.dead_man)
        else:
            acts = GRIPPER in held or bool(np.abs(twist).max() > self._config.engage_threshold)
        return Sample(twist, acts, held)

    def _axis(self, raw: Raw, index: int) -> float:
        number, zone = self._config.axes[index], self._config.deadzone
        if number == UNUSED or number >= len(raw.axes) or not np.isfinite(raw.axes[number]):
            return 0.0
        rest = self._config.rests[index]
        deflection = (float(np.clip(raw.axes[number], -1.0, 1.0)) - rest) / (1.0 + abs(rest))
        value = deflection * self._config.signs[index]
        # From 0 at the edge of the dead zone, so that the arm does not jump where it ends.
        return float(np.sign(value)) * max(0.0, abs(value) - zone) / (1.0 - zone)

    @staticmethod
    def _any_held(raw: Raw, numbers: Sequence[int]) -> bool:
        return any(number < len(raw.buttons) and bool(raw.buttons[number]) for number in numbers)
