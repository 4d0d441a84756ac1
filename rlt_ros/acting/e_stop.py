"""E-stop of the controller: pressed, timed out, or released in this control step."""

from __future__ import annotations

from rlt_ros.acting.watchdog import Watchdog


class EStopState:
    """State of all e-stops, and the time-out of the robot's own.

    Args:
        timeout: s without a message of the robot's own e-stop after which the arm is stopped; 0 for never.
    """

    def __init__(self, timeout: float) -> None:
        self._watchdog = Watchdog(timeout)
        self.pressed = False
        """Any e-stop is pressed."""
        self.powerless = False
        """The robot's own e-stop is pressed, which cuts the power of the arm."""
        self._was_active = False

    def update_hardware(self, now: int, pressed: bool) -> None:
        """Record a message of the robot's own e-stop at steady time `now`, ns."""
        self._watchdog.feed(now)
        self.powerless = pressed

    def active(self, now: int) -> bool:
        """Return whether the arm is stopped at steady time `now`, ns."""
        return self.pressed or self._watchdog.expired(now)

    def released(self, active: bool) -> bool:
        """Return whether a stop of the last control step is not `active` in this one."""
        before, self._was_active = self._was_active, active
        return before and not active
