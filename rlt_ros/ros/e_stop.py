"""E-stop of people and e-stop of the robot: either stops the arm, and releasing one does not release the other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class EStop:
    """State of `rlt/e_stop`, a button that publishes on change, and of `rlt/hardware_e_stop`, the robot's circuit.

    Args:
        on_change: called with `pressed` on every change of it.
    """

    def __init__(self, on_change: Callable[[bool], None]) -> None:
        self._on_change = on_change
        self._button = self._hardware = False

    @property
    def pressed(self) -> bool:
        """Return True if either is pressed."""
        return self._button or self._hardware

    def on_button(self, message: Any) -> None:
        """Update the button from a `std_msgs/Bool`."""
        self._update(button=message.data, hardware=self._hardware)

    def on_hardware(self, message: Any) -> None:
        """Update the circuit from a `std_msgs/Bool`."""
        self._update(button=self._button, hardware=message.data)

    def on_state(self, message: Any) -> None:
        """Update both from the state of the executor (`std_msgs/Bool`), which overrides the other topics.

        A message on the other topics may reach one node and miss another; this state makes all nodes agree.
        """
        self._update(button=message.data, hardware=message.data and self._hardware)

    def _update(self, *, button: bool, hardware: bool) -> None:
        before, self._button, self._hardware = self.pressed, button, hardware
        if self.pressed != before:
            self._on_change(self.pressed)
