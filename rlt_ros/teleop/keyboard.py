"""Keys of the terminal that the process runs in: the fallback where there is no stick.

A terminal tells of no key that is let go, only of keys that come again. So a motion lasts a moment beyond each key, and
the human keeps the arm a little longer, until no key has come for a while.
"""

from __future__ import annotations

import os
import select
import sys
import time
from typing import Any

from rlt_ros.teleop.samples import Raw

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

_MOTION = 0.12  # s that a key moves the tip for; a key that is held comes 30 times a second
_KEEP = 0.7  # s that the human keeps the arm for; before a key repeats, terminals wait 0.25 to 0.66 s


class Keyboard:
    """The standard input, a terminal or a pipe."""

    def __init__(self) -> None:
        self._descriptor = sys.stdin.fileno()
        self._ended = False
        self._moved = [(-_KEEP, 0.0)] * 6  # when an axis was moved, and how
        self._gripped = -_KEEP  # when the gripper was
        self._before: Any = None
        if os.isatty(self._descriptor):
            import termios
            import tty

            self._before = termios.tcgetattr(self._descriptor)
            tty.setcbreak(self._descriptor)  # key by key, without echo; Ctrl-C still stops

    def poll(self) -> Raw | None:
        """Axes and buttons by the keys that have come; None after the input has ended."""
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
        axes = [value if now - when < _MOTION else 0.0 for when, value in self._moved]
        buttons[DEAD_MAN] = int(now - max(self._gripped, *(when for when, _ in self._moved)) < _KEEP)
        return Raw(axes, buttons)

    def close(self) -> None:
        """Leave the terminal as it was."""
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
