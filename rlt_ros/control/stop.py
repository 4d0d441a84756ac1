"""E-stop as the controller sees it: pressed, silent where it must not be, or released just now."""

from __future__ import annotations

from rlt_ros.control.watchdog import Watchdog


class Stop:
    """Combines the state of all e-stops with the silence of one that must be heard.

    Args:
        timeout: s without a message of the robot's own e-stop after which the arm is stopped; 0 for never.
    """

    def __init__(self, timeout: float) -> None:
        self._watch = Watchdog(timeout)
        self.pressed = False
        """Any e-stop is pressed."""
        self.powerless = False
        """The robot's own e-stop is pressed, which cuts the power of the arm."""
        self._before = False

    def hear(self, now: int, pressed: bool) -> None:
        """Take in a message of the robot's own e-stop at steady time `now`, ns."""
        self._watch.feed(now)
        self.powerless = pressed

    def active(self, now: int) -> bool:
        """Return whether the arm is stopped at steady time `now`, ns."""
        return self.pressed or self._watch.silent(now)

    def released(self, active: bool) -> bool:
        """Return whether a stop that was active in the control step before is not `active` in this one."""
        before, self._before = self._before, active
        return before and not active
