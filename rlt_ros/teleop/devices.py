"""Devices that are read in this process: game pads by pygame, SpaceMice by pyspacemouse, and keys of a terminal.

Where ROS 2 drivers publish a device, none of this is needed. The numbers of axes and buttons are those that the drivers
`joy/game_controller_node` and `spacenav` have, so that one set of parameters fits both.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any, Protocol

from rlt_ros.teleop.config import JOY, KEYBOARD, SPACENAV
from rlt_ros.teleop.keyboard import Keyboard
from rlt_ros.teleop.samples import Raw

_RETRY = 1.0  # s between two attempts to find a device
_SDL_AXES, _SDL_BUTTONS, _SDL_FULL = 6, 21, 32767.0
_REPORTS = 16  # a SpaceMouse sends 125 reports a second; whoever polls at 10 Hz still gets the newest


class DeviceError(RuntimeError):
    """A device that cannot be read here; the message says what to install or connect."""


class Device(Protocol):
    """Something with axes and buttons."""

    def poll(self) -> Raw | None:
        """Its state now; None while it is away."""
        ...

    def close(self) -> None:
        """Let go of it."""
        ...


def open_device(name: str) -> Device:
    """A device by the name that the parameter `device` gives it.

    Raises:
        DeviceError: the library that reads it is missing.
    """
    devices: dict[str, Callable[[], Device]] = {JOY: GamePad, SPACENAV: SpaceMouse, KEYBOARD: Keyboard}
    return devices[name]()


class GamePad:
    """The first game pad that SDL knows the layout of."""

    def __init__(self) -> None:
        # Neither a window nor its focus is needed, and there may be no screen.
        os.environ.setdefault("SDL_VIDEODRIVER", "dummy")
        os.environ.setdefault("SDL_JOYSTICK_ALLOW_BACKGROUND_EVENTS", "1")
        os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
        try:
            import pygame
            from pygame._sdl2 import controller
        except ImportError as error:
            raise DeviceError(
                f"a game pad is read by pygame: pip install 'rlt_ros[teleop]' ({error})"
            ) from error
        pygame.display.init()
        controller.init()
        self._pygame, self._controllers = pygame, controller
        self._pad: Any = None
        self._connections = 0
        self._next_try = 0.0

    def poll(self) -> Raw | None:
        """See :class:`Device`."""
        self._pygame.event.pump()
        if self._pad is None or not self._pad.attached():
            self._pad = self._find()
        if self._pad is None:
            return None
        # ROS has left and up positive, SDL right and down.
        axes = [-self._pad.get_axis(i) / _SDL_FULL for i in range(_SDL_AXES)]
        buttons = [int(self._pad.get_button(i)) for i in range(_SDL_BUTTONS)]
        return Raw(axes, buttons, self._connections)

    def close(self) -> None:
        """See :class:`Device`."""
        self._controllers.quit()
        self._pygame.display.quit()

    def _find(self) -> Any:
        if time.monotonic() < self._next_try:
            return None
        self._next_try = time.monotonic() + _RETRY
        known = (i for i in range(self._controllers.get_count()) if self._controllers.is_controller(i))
        index = next(known, None)
        if index is None:
            return None
        self._connections += 1
        return self._controllers.Controller(index)


class SpaceMouse:
    """The first SpaceMouse that is connected."""

    def __init__(self) -> None:
        try:
            import pyspacemouse
        except (ImportError, OSError) as error:
            raise DeviceError(
                f"a SpaceMouse is read by pyspacemouse: pip install 'rlt_ros[teleop]', and libhidapi ({error})"
            ) from error
        self._library = pyspacemouse
        self._mouse: Any = None
        self._connections = 0
        self._next_try = 0.0

    def poll(self) -> Raw | None:
        """See :class:`Device`."""
        if self._mouse is None and not self._connect():
            return None
        try:
            for _ in range(_REPORTS):
                state = self._mouse.read()
        except Exception:  # the HID library has errors of its own for a plug that is pulled
            self.close()
            return None
        return Raw(
            [state.x, state.y, state.z, state.roll, state.pitch, state.yaw],
            [int(b) for b in state.buttons],
            self._connections,
        )

    def close(self) -> None:
        """See :class:`Device`."""
        mouse, self._mouse = self._mouse, None
        if mouse is not None:
            mouse.close()

    def _connect(self) -> bool:
        if time.monotonic() < self._next_try:
            return False
        self._next_try = time.monotonic() + _RETRY
        try:
            self._mouse = self._library.open(axis_convention=self._library.AxisConvention.ROS)
        except Exception:  # nothing connected, or no right to open it
            return False
        self._connections += 1
        return True
