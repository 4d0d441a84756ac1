"""Rest gate of a device: an axis or dead-man button counts only once it was at rest since the connection.

Drivers publish 0 for an untouched axis, although a trigger rests at 1; a stick may be held while its device is
connected; a dead-man button may be stuck. Neither may move an arm.
"""

from __future__ import annotations

import numpy as np

from rlt_ros.teleop.config import UNUSED, TeleopConfig
from rlt_ros.teleop.samples import DeviceSample

_MIN_REST_ZONE = 0.1
"""Smallest deviation from rest at which an axis counts as moved; a larger dead zone replaces it."""
_FULL_DEFLECTION = 0.99
"""Deflection of an axis at its end, such as a released trigger."""
_TRIGGER_TIME = 1_000_000_000
"""ns at the end, without the dead-man button, after which an axis counts as a trigger that rests there."""
_AXES = ("x", "y", "z", "roll", "pitch", "yaw")


class RestGate:
    """Rest states of the axes and buttons that move the arm.

    Args:
        config: settings of teleoperation, completed.
    """

    def __init__(self, config: TeleopConfig) -> None:
        self._config = config
        self._near = max(config.deadzone, _MIN_REST_ZONE)
        self._used = {number: index for index, number in enumerate(config.axes) if number != UNUSED}
        self.forget()

    def forget(self) -> None:
        """Reset all rest states, at the connection of a device."""
        self._waiting = set(self._used)
        self._released = not self._config.dead_man
        self._ends: dict[int, int] = {}
        self._values: dict[int, float] = {}

    @property
    def is_open(self) -> bool:
        """True once all axes and buttons that move the arm were at rest."""
        return self._released and not self._waiting

    def update(self, raw: DeviceSample, now: int) -> None:
        """Process a sample received at steady time `now`, ns."""
        pressed = any(n < len(raw.buttons) and raw.buttons[n] for n in self._config.dead_man)
        self._released = self._released or not pressed
        for number, index in self._used.items():
            value = float(raw.axes[number]) if number < len(raw.axes) else float("nan")
            self._values[number] = value
            if abs(value - self._config.rests[index]) <= self._near:
                self._waiting.discard(number)
            elif not pressed and self._config.dead_man and self._rests_at_end(number, value, now):
                self._waiting.add(number)
            if not abs(value) >= _FULL_DEFLECTION:
                self._ends.pop(number, None)

    @property
    def problem(self) -> str:
        """Reason for ignoring the device, and the remedy; empty for none."""
        if self._waiting:
            number = min(self._waiting)
            index = self._used[number]
            value, rest = self._values.get(number, float("nan")), self._config.rests[index]
            text = f"axis {number} ({_AXES[index]}) is at {value:.2f} and was not yet at rest, {rest:g}"
            if value == 0.0:
                text += ": its driver publishes 0 before the first motion; move and release it once"
            elif abs(value) >= _FULL_DEFLECTION:
                text += f": release it; if it stays at {value:.0f} it is a trigger: set `rests`, or use another axis"
            else:
                text += ": release it"
            return text
        return (
            "" if self._released else "the dead-man button was held when the device was connected: release it"
        )

    def _rests_at_end(self, number: int, value: float, now: int) -> bool:
        """Return whether an axis stays at its end without the dead-man button: it is a trigger."""
        if not (np.isfinite(value) and abs(value) >= _FULL_DEFLECTION):
            return False
        return now - self._ends.setdefault(number, now) >= _TRIGGER_TIME
