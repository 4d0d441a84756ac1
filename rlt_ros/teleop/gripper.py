"""The button of the gripper: each press turns round what the gripper does."""

from __future__ import annotations

_OPEN, _CLOSED = 0.0, 1.0


class GripperButton:
    """Follows presses while the human acts.

    What was wished last is turned round. Before the first wish that is the gripper's measured state; where nobody
    measures it, it counts as open, since closing drops nothing.

    Args:
        present: whether the robot has a gripper to command.
    """

    def __init__(self, *, present: bool) -> None:
        self._present = present
        self._held = False
        self._closed: bool | None = None
        self._measured = _OPEN
        self.wish: float | None = None
        """Where the human wants the gripper since taking over, 0 open to 1 closed; None to leave it as it is."""
        self.ignored = 0
        """Presses that meant nothing: the human did not act, the e-stop was pressed, or there is no gripper."""

    def measure(self, share: float) -> None:
        """Take in where it is, 0 open to 1 closed."""
        self._measured = share

    def update(self, held: bool, *, acts: bool) -> None:
        """Take in whether the button is held, and whether a press counts now."""
        pressed, self._held = held and not self._held, held
        if not pressed:
            return
        if not (acts and self._present):
            self.ignored += 1
            return
        closed = self._measured > 0.5 if self._closed is None else self._closed
        self._closed = not closed
        self.wish = _CLOSED if self._closed else _OPEN

    def let_go(self) -> None:
        """The human acts no more: the gripper stays as it is."""
        self.wish = None

    def forget_held(self) -> None:
        """The device was away: what is held when it is back counts as pressed only when it is pressed anew."""
        self._held = True
