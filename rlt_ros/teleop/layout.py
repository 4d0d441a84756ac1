"""Layout of a game pad: check of the mapping against the numbers of axes and buttons of the driver."""

from __future__ import annotations

from rlt_ros.teleop.config import BUTTONS, JOY, SPACENAV, UNUSED, TeleopConfig
from rlt_ros.teleop.samples import DeviceSample

# For every pad, `joy/game_controller_node` publishes SDL_CONTROLLER_AXIS_MAX axes and SDL_CONTROLLER_BUTTON_MAX
# buttons: 6 and 15, or 21 since SDL 2.0.14.
_AXES, _MIN_BUTTONS = 6, 15


class Layout:
    """Check of samples of a device against the mapping.

    Args:
        config: settings of teleoperation, before completion with defaults.
    """

    def __init__(self, config: TeleopConfig) -> None:
        # A mapping set by the user is not checked against the standard layout.
        self._is_standard = config.device == JOY and not config.axes
        self._config = config.completed()

    def mapping_fault(self, raw: DeviceSample) -> str:
        """Reason why the mapping does not fit the device's axes and buttons; empty if it does."""
        axes, buttons = len(raw.axes), len(raw.buttons)
        has = f"the device has {axes} axes and {buttons} buttons"
        if self._is_standard:
            if axes == _AXES and buttons >= _MIN_BUTTONS:
                return ""
            return (
                f"{has}; the mapping is that of game_controller_node, which publishes {_AXES} axes and at least "
                f"{_MIN_BUTTONS} buttons for every pad. Run `ros2 run joy game_controller_node` in place of "
                "joy_node or joy_linux_node, or set `axes`, `signs`, `rests` and the buttons for this pad"
            )
        missing = [number for number in self._config.axes if number != UNUSED and number >= axes]
        if missing:
            return f"{has}; `axes` names axis {missing[0]}. Set `axes` for this device, or run its own driver"
        dead_man = self._config.dead_man
        if dead_man and min(dead_man) >= buttons:
            return f"{has}; `dead_man` is button {min(dead_man)}. Set it to a button of this device"
        return ""

    def missing_buttons(self, raw: DeviceSample) -> str:
        """Description of the mapped buttons that the device lacks; empty for none."""
        if self._config.device == SPACENAV:
            # Its driver adds buttons when they are first pressed.
            return ""
        count = len(raw.buttons)
        names = [
            name for name in BUTTONS if (numbers := getattr(self._config, name)) and min(numbers) >= count
        ]
        return f"the device has {count} buttons, too few for {', '.join(names)}" if names else ""
