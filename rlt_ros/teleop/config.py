"""Parameters of teleoperation."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from rlt_ros.rlt.parameters import ConfigError, check, parameter

JOY, SPACENAV, KEYBOARD = "joy", "spacenav", "keyboard"
UNUSED = -1

_GAME_CONTROLLER = "layout of game_controller_node, the same for all pads that SDL knows"


@dataclass(frozen=True)
class TeleopConfig:
    """Device, what its sticks and buttons mean, and how fast it moves the tip.

    Numbers of axes and buttons are those of `sensor_msgs/Joy`, from 0. A list of buttons that is left empty takes the
    device's own default.
    """

    device: str = parameter(
        JOY,
        help="`joy`: game pad; `spacenav`: SpaceMouse; `keyboard`: keys of the terminal that the node runs in.",
        choices=(JOY, SPACENAV, KEYBOARD),
    )
    direct: str = parameter(
        "auto",
        help="Read the device in this process (pip install 'rlt_ros[teleop]') instead of from the topics of its ROS "
        "driver; `auto` does so where ROS 2 is not sourced.",
        choices=("auto", "true", "false"),
    )
    linear_speed: float = parameter(
        0.06,
        help="Speed of the tip at full deflection.",
        unit="m/s",
        low=0.001,
        high=1.0,
        source="ours; fine work",
    )
    angular_speed: float = parameter(
        0.4, help="Turning rate of the tip at full deflection.", unit="rad/s", low=0.001, high=3.0
    )
    frame: str = parameter(
        "base",
        help="Axes in which the tip is moved: those of the robot's base, or those of the tip itself.",
        choices=("base", "tip"),
    )
    damping: float = parameter(
        0.03,
        help="Damping of the least squares from tip to joints; larger is calmer near singular postures.",
        low=1e-4,
        high=1.0,
        source="ours",
    )
    deadzone: float = parameter(
        0.08,
        help="Deflection below which an axis counts as not moved.",
        low=0.0,
        high=0.9,
        source="joy_node: 0.05",
    )
    engage_threshold: float = parameter(
        0.15,
        help="Without a dead-man button the human acts while the deflection is above this.",
        low=0.0,
        high=1.0,
        source="HIL-SERL engages by motion too",
    )
    blend: float = parameter(
        0.3, help="Time in which the human's share rises from 0 to 1.", unit="s", low=0.0, high=5.0
    )
    hold_off: float = parameter(
        0.4, help="How long the arm holds after the human let go.", unit="s", low=0.0, high=10.0
    )
    stale: float = parameter(
        0.5,
        help="Without a sample of the device for this long the human does not act and the arm holds.",
        unit="s",
        low=0.05,
    )
    realtime_priority: int = parameter(
        45,
        help="Real-time priority (SCHED_FIFO) of the node where the system grants it, so that a busy computer does not "
        "keep the human waiting; 0 for none.",
        low=0,
        high=98,
        source="ours; below the executor's",
    )
    axes: tuple[int, ...] = parameter(
        (),
        help="Axis numbers for x, y, z, roll, pitch, yaw; -1 for none.",
        low=UNUSED,
        source=_GAME_CONTROLLER,
    )
    signs: tuple[int, ...] = parameter(
        (), help="Sign of each of the six axes.", choices=(-1, 1), source="REP 103: x forward, y left, z up"
    )
    rests: tuple[float, ...] = parameter(
        (),
        help="Value of each of the six axes while it is let go; left out, 0 for all. Triggers of joy_node and "
        "joy_linux_node rest at 1 or -1. Nothing moves the arm before every axis was seen there.",
        low=-1.0,
        high=1.0,
    )
    dead_man: tuple[int, ...] = parameter(
        (), help="The human acts while one of these is held.", low=0, source=_GAME_CONTROLLER + "; RB"
    )
    success: tuple[int, ...] = parameter((), help="The episode succeeded.", low=0, source="Y")
    failure: tuple[int, ...] = parameter((), help="The episode failed.", low=0, source="A or B")
    re_record: tuple[int, ...] = parameter((), help="Forget the episode and do it again.", low=0, source="X")
    hand_over: tuple[int, ...] = parameter((), help="The critical phase begins.", low=0, source="LB")
    start: tuple[int, ...] = parameter(
        (), help="Begin an episode; after an e-stop, release it.", low=0, source="Start"
    )
    reset_done: tuple[int, ...] = parameter(
        (), help="The scene is ready for the episode.", low=0, source="D-pad up"
    )
    e_stop: tuple[int, ...] = parameter((), help="Stop the arm.", low=0, source="Back")
    gripper: tuple[int, ...] = parameter(
        (),
        help="Close the gripper if it is open, open it if it is closed, while the human acts.",
        low=0,
        source="D-pad down",
    )

    def __post_init__(self) -> None:
        check(self)
        for name in ("axes", "signs", "rests"):
            if len(getattr(self, name)) not in (0, 6):
                raise ConfigError(
                    f"`{name}` has {len(getattr(self, name))} values; give six: x y z roll pitch yaw"
                )
        used: dict[int, str] = {}
        for name in (*BUTTONS, "dead_man"):
            for button in getattr(self, name):
                if used.setdefault(button, name) != name:
                    raise ConfigError(
                        f"button {button} is `{used[button]}` and `{name}`; it can mean one thing"
                    )

    def completed(self) -> TeleopConfig:
        """With the device's own defaults for what was left empty."""
        empty: dict[str, Any] = {
            name: value for name, value in _DEFAULTS[self.device].items() if not getattr(self, name)
        }
        return replace(self, **empty)


GRIPPER = "gripper"
BUTTONS = ("success", "failure", "re_record", "hand_over", "start", "reset_done", "e_stop", GRIPPER)
"""What a button may mean, beside dead-man."""

_DEFAULTS: dict[str, dict[str, tuple[float, ...]]] = {
    JOY: {
        "axes": (1, 0, 3, UNUSED, UNUSED, 2),
        "signs": (1, 1, 1, 1, 1, 1),
        "rests": (0.0,) * 6,
        "dead_man": (10,),
        "success": (3,),
        "failure": (0, 1),
        "re_record": (2,),
        "hand_over": (9,),
        "start": (6,),
        "reset_done": (11,),
        "e_stop": (4,),
        "gripper": (12,),
    },
    SPACENAV: {
        "axes": (0, 1, 2, 3, 4, 5),
        "signs": (1, 1, 1, 1, 1, 1),
        "rests": (0.0,) * 6,
        "success": (0,),
        "failure": (1,),
    },
    # Numbers of `rlt_ros.teleop.keyboard.KEYS`.
    KEYBOARD: {
        "axes": (0, 1, 2, 3, 4, 5),
        "signs": (1, 1, 1, 1, 1, 1),
        "rests": (0.0,) * 6,
        "success": (0,),
        "failure": (1,),
        "re_record": (2,),
        "hand_over": (3,),
        "start": (4,),
        "reset_done": (8,),
        "e_stop": (5,),
        "gripper": (7,),
        "dead_man": (6,),
    },
}
