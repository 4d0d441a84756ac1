"""Rest of a device: an axis or dead-man button counts only after it was seen at rest since the device appeared.

Drivers publish 0 for an axis that was not touched yet, although a trigger rests at 1; a stick may be held while its
device is plugged in; a dead-man button may be stuck. None of them may move an arm.
"""

from __future__ import annotations

import numpy as np

from rlt_ros.teleop.config import UNUSED, TeleopConfig
from rlt_ros.teleop.samples import Raw

# Share of the range around its rest in which an axis counts as let go, where the dead zone is smaller.
_NEAR = 0.1
# An axis at its end, as a trigger that is let go.
_END = 0.99
# ns at the end, without the dead-man button, after which an axis counts as one that rests there.
_RESTS_AT_END = 1_000_000_000
_AXES = ("x", "y", "z", "roll", "pitch", "yaw")


class RestGate:
    """Follows which of the axes and buttons that move the arm were seen at rest.

    Args:
        config: of teleoperation, completed.
    """

    def __init__(self, config: TeleopConfig) -> None:
        self._config = config
        self._near = max(config.deadzone, _NEAR)
        self._used = {number: index for index, number in enumerate(config.axes) if number != UNUSED}
        self.forget()

    def forget(self) -> None:
        """The device appeared, or another one: nothing was seen at rest."""
        self._waiting = set(self._used)
        self._released = not self._config.dead_man
        self._ends: dict[int, int] = {}
        self._values: dict[int, float] = {}

    @property
    def is_open(self) -> bool:
        """Return whether everything that moves the arm was seen at rest."""
        return self._released and not self._waiting

    def update(self, raw: Raw, now: int) -> None:
        """Take in a sample that came at steady time `now`, ns."""
        pressed = any(n < len(raw.buttons) and raw.buttons[n] for n in self._config.dead_man)
        self._released = self._released or not pressed
        for number, index in self._used.items():
            value = float(raw.axes[number]) if number < len(raw.axes) else float("nan")
            self._values[number] = value
            if abs(value - self._config.rests[index]) <= self._near:
                self._waiting.discard(number)
            elif not pressed and self._config.dead_man and self._rests_at_end(number, value, now):
                self._waiting.add(number)
            if not abs(value) >= _END:
                self._ends.pop(number, None)

    @property
    def problem(self) -> str:
        """Reason why nothing counts yet, and the remedy; empty for none."""
        if self._waiting:
            number = min(self._waiting)
            index = self._used[number]
            value, rest = self._values.get(number, float("nan")), self._config.rests[index]
            text = f"axis {number} ({_AXES[index]}) is at {value:.2f} and was not seen at rest, {rest:g}"
            if value == 0.0:
                text += ": its driver publishes 0 before it is touched; move it once and let go of it"
            elif abs(value) >= _END:
                text += f": let go of it; if it stays at {value:.0f} it is a trigger: set `rests`, or use another axis"
            else:
                text += ": let go of it"
            return text
        return "" if self._released else "the dead-man button was held when the device appeared: let go of it"

    def _rests_at_end(self, number: int, value: float, now: int) -> bool:
        """Return whether an axis stays at its end although no one wants to move the arm: it is a trigger."""
        if not (np.isfinite(value) and abs(value) >= _END):
            return False
        return now - self._ends.setdefault(number, now) >= _RESTS_AT_END
