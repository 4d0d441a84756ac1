"""The e-stop of people and that of the robot: either stops the arm, and releasing one does not release the other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class EStop:
    """Hears `rlt/e_stop`, a button that speaks when it is pressed or released, and `rlt/hardware_e_stop`, a circuit.

    Args:
        told: called with whether any is pressed, when that changes.
    """

    def __init__(self, told: Callable[[bool], None]) -> None:
        self._told = told
        self._button = self._hardware = False

    @property
    def pressed(self) -> bool:
        """Return whether any is."""
        return self._button or self._hardware

    def on_button(self, message: Any) -> None:
        """Take in what a person says (`std_msgs/Bool`)."""
        self._take(button=message.data, hardware=self._hardware)

    def on_hardware(self, message: Any) -> None:
        """Take in what the robot says (`std_msgs/Bool`)."""
        self._take(button=self._button, hardware=message.data)

    def on_state(self, message: Any) -> None:
        """Take in whether the executor is stopped (`std_msgs/Bool`), whose word counts: it moves the arm.

        A message on the other topics may reach one node and miss another; this keeps all of them of one mind.
        """
        self._take(button=message.data, hardware=message.data and self._hardware)

    def _take(self, *, button: bool, hardware: bool) -> None:
        before, self._button, self._hardware = self.pressed, button, hardware
        if self.pressed != before:
            self._told(self.pressed)
