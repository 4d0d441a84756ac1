"""Keys of the process' terminal, the fallback without a stick.

A terminal reports no key releases, only repeated presses. A motion therefore lasts for a short time after each press,
and the human's action for a longer one.
"""

from __future__ import annotations

import os
import select
import sys
import time
from typing import Any

from rlt_ros.teleop.samples import DeviceSample

MOTIONS = {
    "w": (0, 1.0),
    "s": (0, -1.0),
    "a": (1, 1.0),
    "d": (1, -1.0),
    "r": (2, 1.0),
    "f": (2, -1.0),
    "u": (3, 1.0),
    "j": (3, -1.0),
    "i": (4, 1.0),
    "k": (4, -1.0),
    "o": (5, 1.0),
    "l": (5, -1.0),
}
"""Key → axis (x, y, z, roll, pitch, yaw) and deflection."""
KEYS = {"y": 0, "n": 1, "b": 2, "h": 3, "\n": 4, "\r": 4, " ": 5, "g": 7, "c": 8}
"""Key → button: success, failure, re-record, hand-over, start, e-stop, gripper, reset done."""
HELP = (
    "w s a d r f move, u j i k o l turn, g gripper; c scene ready, Enter start, h hand-over, y success, n failure, "
    "b re-record, Space e-stop"
)
DEAD_MAN, GRIPPER = 6, 7

_MOTION_TIME = 0.12
"""s of motion per press; a held key repeats 30 times per second."""
_ENGAGED_TIME = 0.7
"""s of the human's action per press; terminals wait 0.25 to 0.66 s before the first repetition."""


class Keyboard:
    """Standard input, a terminal or a pipe."""

    def __init__(self) -> None:
        self._descriptor = sys.stdin.fileno()
        self._ended = False
        # Steady time, s, and deflection of the last press per axis, and steady time of the last gripper press.
        self._moved = [(-_ENGAGED_TIME, 0.0)] * 6
        self._gripped = -_ENGAGED_TIME
        self._before: Any = None
        if os.isatty(self._descriptor):
            import termios
            import tty

            self._before = termios.tcgetattr(self._descriptor)
            # Single keys without echo; Ctrl-C still interrupts.
            tty.setcbreak(self._descriptor)

    def poll(self) -> DeviceSample | None:
        """Axes and buttons of the latest keys; None after the end of the input."""
        now, buttons = time.monotonic(), [0] * (max(KEYS.values()) + 1)
        for key in self._read():
            if key in MOTIONS:
                axis, value = MOTIONS[key]
                self._moved[axis] = (now, value)
            elif key in KEYS:
                buttons[KEYS[key]] = 1
                if KEYS[key] == GRIPPER:
                    self._gripped = now
        if self._ended:
            return None
        axes = [value if now - when < _MOTION_TIME else 0.0 for when, value in self._moved]
        buttons[DEAD_MAN] = int(now - max(self._gripped, *(when for when, _ in self._moved)) < _ENGAGED_TIME)
        return DeviceSample(axes, buttons)

    def close(self) -> None:
        """Restore the terminal's settings."""
        if self._before is not None:
            import termios

            termios.tcsetattr(self._descriptor, termios.TCSADRAIN, self._before)

    def _read(self) -> str:
        text = b""
        while not self._ended and select.select([self._descriptor], [], [], 0)[0]:
            data = os.read(self._descriptor, 4096)
            self._ended = not data
            text += data
        return text.decode(errors="ignore")
