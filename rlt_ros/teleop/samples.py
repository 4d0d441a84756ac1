"""Samples of a device, and their meaning: twist of the tip, the human's action, buttons."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rlt_ros.teleop.config import BUTTONS, GRIPPER, UNUSED, TeleopConfig

Array = NDArray[np.float64]


@dataclass(frozen=True)
class DeviceSample:
    """State of a device.

    Attributes:
        axes: in [-1, 1], numbered as in `sensor_msgs/Joy`.
        buttons: 1 while held, numbered as in `sensor_msgs/Joy`.
        connection: number of connections of the device; 0 if unknown.
    """

    axes: Sequence[float] = ()
    buttons: Sequence[int] = ()
    connection: int = 0

    def same_device(self, other: DeviceSample) -> bool:
        """Return whether both can be samples of one connection of a device."""
        # The number of a SpaceMouse's buttons grows with their first presses.
        same = len(self.axes) == len(other.axes) and len(self.buttons) <= len(other.buttons)
        return same and self.connection == other.connection


@dataclass(frozen=True)
class OperatorInput:
    """Input of the human.

    Attributes:
        twist: (6,) linear, then angular velocity, as shares of full speed in [-1, 1].
        acts: True if the human commands, or wants to command, the arm.
        held: meanings of the held buttons, of `BUTTONS`.
    """

    twist: Array
    acts: bool
    held: frozenset[str]


class Interpreter:
    """Conversion of device samples to the human's input; a missing axis or button counts as not moved or pressed.

    Args:
        config: settings of teleoperation, completed.
    """

    def __init__(self, config: TeleopConfig) -> None:
        self._config = config

    def __call__(self, raw: DeviceSample) -> OperatorInput:
        """Human's input of a sample; non-finite numbers count as no deflection."""
        twist = np.array([self._axis(raw, i) for i in range(6)])
        held = frozenset(name for name in BUTTONS if self._any_held(raw, getattr(self._config, name)))
        if self._config.dead_man:
            acts = self._any_held(raw, self._config.dead_man)
        else:
            acts = GRIPPER in held or bool(np.abs(twist).max() > self._config.engage_threshold)
        return OperatorInput(twist, acts, held)

    def _axis(self, raw: DeviceSample, index: int) -> float:
        number, zone = self._config.axes[index], self._config.deadzone
        if number == UNUSED or number >= len(raw.axes) or not np.isfinite(raw.axes[number]):
            return 0.0
        rest = self._config.rests[index]
        deflection = (float(np.clip(raw.axes[number], -1.0, 1.0)) - rest) / (1.0 + abs(rest))
        value = deflection * self._config.signs[index]
        # 0 at the edge of the dead zone, for a continuous motion.
        return float(np.sign(value)) * max(0.0, abs(value) - zone) / (1.0 - zone)

    @staticmethod
    def _any_held(raw: DeviceSample, numbers: Sequence[int]) -> bool:
        return any(number < len(raw.buttons) and bool(raw.buttons[number]) for number in numbers)
