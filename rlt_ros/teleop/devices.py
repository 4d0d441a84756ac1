"""Devices that are read in this process: game pads by pygame, SpaceMice by pyspacemouse, and keys of a terminal.

They replace ROS 2 drivers of devices. Axes and buttons have the numbers of `joy/game_controller_node` and `spacenav`,
so the same parameters fit both.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any, Protocol

from rlt_ros.teleop.config import JOY, KEYBOARD, SPACENAV
from rlt_ros.teleop.keyboard import Keyboard
from rlt_ros.teleop.samples import DeviceSample

_RETRY_PERIOD = 1.0
"""s between two attempts to find a device."""
_SDL_AXES, _SDL_BUTTONS, _SDL_FULL_SCALE = 6, 21, 32767.0
_REPORTS_PER_POLL = 16
"""A SpaceMouse sends 125 reports per second; with this many, polling at 10 Hz reads the newest."""


class DeviceError(RuntimeError):
    """Device that cannot be read; the message names the missing library or device."""


class Device(Protocol):
    """Input device with axes and buttons."""

    def poll(self) -> DeviceSample | None:
        """Read the current state; None while the device is disconnected."""
        ...

    def close(self) -> None:
        """Close the device."""
        ...


def open_device(name: str) -> Device:
    """Open a device by its name in the parameter `device`.

    Raises:
        DeviceError: the library that reads it is missing.
    """
    devices: dict[str, Callable[[], Device]] = {JOY: GamePad, SPACENAV: SpaceMouse, KEYBOARD: Keyboard}
    return devices[name]()


class GamePad:
    """First game pad with a layout known to SDL."""

    def __init__(self) -> None:
        # Works without a window, its focus and a screen.
        os.environ.setdefault("SDL_VIDEODRIVER", "dummy")
        os.environ.setdefault("SDL_JOYSTICK_ALLOW_BACKGROUND_EVENTS", "1")
        os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
        try:
            import pygame
            from pygame._sdl2 import controller
        except ImportError as error:
            raise DeviceError(
                f"a game pad requires pygame: pip install 'rlt_ros[teleop]' ({error})"
            ) from error
        pygame.display.init()
        controller.init()
        self._pygame, self._controllers = pygame, controller
        self._pad: Any = None
        self._connections = 0
        self._next_try = 0.0

    def poll(self) -> DeviceSample | None:
        """Implementation of :class:`Device`."""
        self._pygame.event.pump()
        if self._pad is None or not self._pad.attached():
            self._pad = self._find()
        if self._pad is None:
            return None
        # Left and up are positive in ROS, right and down in SDL.
        axes = [-self._pad.get_axis(i) / _SDL_FULL_SCALE for i in range(_SDL_AXES)]
        buttons = [int(self._pad.get_button(i)) for i in range(_SDL_BUTTONS)]
        return DeviceSample(axes, buttons, self._connections)

    def close(self) -> None:
        """Implementation of :class:`Device`."""
        self._controllers.quit()
        self._pygame.display.quit()

    def _find(self) -> Any:
        if time.monotonic() < self._next_try:
            return None
        self._next_try = time.monotonic() + _RETRY_PERIOD
        known = (i for i in range(self._controllers.get_count()) if self._controllers.is_controller(i))
        index = next(known, None)
        if index is None:
            return None
        self._connections += 1
        return self._controllers.Controller(index)


class SpaceMouse:
    """First connected SpaceMouse."""

    def __init__(self) -> None:
        try:
            import pyspacemouse
        except (ImportError, OSError) as error:
            raise DeviceError(
                f"a SpaceMouse requires pyspacemouse: pip install 'rlt_ros[teleop]', and libhidapi ({error})"
            ) from error
        self._library = pyspacemouse
        self._mouse: Any = None
        self._connections = 0
        self._next_try = 0.0

    def poll(self) -> DeviceSample | None:
        """Implementation of :class:`Device`."""
        if self._mouse is None and not self._connect():
            return None
        try:
            for _ in range(_REPORTS_PER_POLL):
                state = self._mouse.read()
        # The HID library has its own exceptions for a disconnected device.
        except Exception:
            self.close()
            return None
        return DeviceSample(
            [state.x, state.y, state.z, state.roll, state.pitch, state.yaw],
            [int(b) for b in state.buttons],
            self._connections,
        )

    def close(self) -> None:
        """Implementation of :class:`Device`."""
        mouse, self._mouse = self._mouse, None
        if mouse is not None:
            mouse.close()

    def _connect(self) -> bool:
        if time.monotonic() < self._next_try:
            return False
        self._next_try = time.monotonic() + _RETRY_PERIOD
        try:
            self._mouse = self._library.open(axis_convention=self._library.AxisConvention.ROS)
        # No device, or no permission.
        except Exception:
            return False
        self._connections += 1
        return True
