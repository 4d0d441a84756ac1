"""Gripper button: each press toggles the gripper."""

from __future__ import annotations

_OPEN, _CLOSED = 0.0, 1.0


class GripperButton:
    """Gripper goal by presses while the human acts.

    A press toggles the last goal. The first press toggles the measured state, or closes an unmeasured gripper, because
    closing drops no object.

    Args:
        present: True if the robot has a gripper.
    """

    def __init__(self, *, present: bool) -> None:
        self._present = present
        self._held = False
        self._closed: bool | None = None
        self._measured = _OPEN
        self.goal: float | None = None
        """Human's goal for the gripper since the take-over, 0 open to 1 closed; None leaves it unchanged."""
        self.ignored = 0
        """Number of ignored presses: the human did not act, the e-stop was pressed, or there is no gripper."""

    def measure(self, share: float) -> None:
        """Set the measured opening, 0 open to 1 closed."""
        self._measured = share

    def update(self, held: bool, *, acts: bool) -> None:
        """Process the button's state; ``acts`` is True if a press counts."""
        pressed, self._held = held and not self._held, held
        if not pressed:
            return
        if not (acts and self._present):
            self.ignored += 1
            return
        closed = self._measured > 0.5 if self._closed is None else self._closed
        self._closed = not closed
        self.goal = _CLOSED if self._closed else _OPEN

    def release(self) -> None:
        """Clear the goal at the end of the human's action: the gripper stays unchanged."""
        self.goal = None

    def ignore_held(self) -> None:
        """Ignore a held button until its next press, after a reconnection of the device."""
        self._held = True
