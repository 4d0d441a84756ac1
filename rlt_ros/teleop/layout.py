"""Layout of a game pad: numbers of axes and buttons tell which driver publishes it, and whether the mapping fits."""

from __future__ import annotations

from rlt_ros.teleop.config import BUTTONS, JOY, SPACENAV, UNUSED, TeleopConfig
from rlt_ros.teleop.samples import Raw

# `joy/game_controller_node` publishes SDL_CONTROLLER_AXIS_MAX axes and SDL_CONTROLLER_BUTTON_MAX buttons, whatever the
# pad has: 6 and 15, or 21 from SDL 2.0.14 on.
_AXES, _LEAST_BUTTONS = 6, 15


class Layout:
    """Compares samples of a device with the mapping.

    Args:
        config: of teleoperation, as it was given, before defaults are filled in.
    """

    def __init__(self, config: TeleopConfig) -> None:
        # Numbers of a pad's own mapping are taken at their word.
        self._is_standard = config.device == JOY and not config.axes
        self._config = config.completed()

    def misfit(self, raw: Raw) -> str:
        """Reason why the mapping cannot be meant for a device with these axes and buttons; empty where it can."""
        axes, buttons = len(raw.axes), len(raw.buttons)
        has = f"the device has {axes} axes and {buttons} buttons"
        if self._is_standard:
            if axes == _AXES and buttons >= _LEAST_BUTTONS:
                return ""
            return (
                f"{has}; the mapping is that of game_controller_node, which publishes {_AXES} axes and at least "
                f"{_LEAST_BUTTONS} buttons for every pad. Run `ros2 run joy game_controller_node` in place of "
                "joy_node or joy_linux_node, or set `axes`, `signs`, `rests` and the buttons for this pad"
            )
        lacking = [number for number in self._config.axes if number != UNUSED and number >= axes]
        if lacking:
            return f"{has}; `axes` names axis {lacking[0]}. Set `axes` for this device, or run its own driver"
        dead_man = self._config.dead_man
        if dead_man and min(dead_man) >= buttons:
            return f"{has}; `dead_man` is button {min(dead_man)}. Set it to a button of this device"
        return ""

    def lacking(self, raw: Raw) -> str:
        """Buttons of the mapping that the device lacks, in words; empty for none."""
        if self._config.device == SPACENAV:
            # Its driver adds buttons when they are first pressed.
            return ""
        count = len(raw.buttons)
        names = [
            name for name in BUTTONS if (numbers := getattr(self._config, name)) and min(numbers) >= count
        ]
        return f"the device has {count} buttons, too few for {', '.join(names)}" if names else ""
