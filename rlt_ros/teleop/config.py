"""Parameters of teleoperation."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from rlt_ros.store.parameters import ConfigError, check, parameter

JOY, SPACENAV, KEYBOARD = "joy", "spacenav", "keyboard"
UNUSED = -1

_GAME_CONTROLLER = "layout of game_controller_node, the same for all pads that SDL knows"


@dataclass(frozen=True)
class TeleopConfig:
    """Device, meaning of its axes and buttons, and speed of the tip.

    Numbers of axes and buttons are those of `sensor_msgs/Joy`, from 0. An empty list of buttons means the device's
    default.
    """

    device: str = parameter(
        JOY,
        help="Input device. `joy`: game pad; `spacenav`: SpaceMouse; `keyboard`: keys of the node's terminal.",
        choices=(JOY, SPACENAV, KEYBOARD),
    )
    direct: str = parameter(
        "auto",
        help="Reading of the device in this process (pip install 'rlt_ros[teleop]') instead of from the topics of its "
        "ROS driver; `auto` enables it where ROS 2 is not sourced.",
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
        help="Frame of the tip's motion: the robot's base or the tip.",
        choices=("base", "tip"),
    )
    damping: float = parameter(
        0.03,
        help="Damping of the least squares from tip to joints; larger values slow joints near singular postures.",
        low=1e-4,
        high=1.0,
        source="ours",
    )
    deadzone: float = parameter(
        0.08,
        help="Deflection below which an axis counts as 0.",
        low=0.0,
        high=0.9,
        source="joy_node: 0.05",
    )
    engage_threshold: float = parameter(
        0.15,
        help="Deflection above which the human acts, for a device without a dead-man button.",
        low=0.0,
        high=1.0,
        source="HIL-SERL engages by motion too",
    )
    blend: float = parameter(
        0.3, help="Rise time of the human's share from 0 to 1 at a take-over.", unit="s", low=0.0, high=5.0
    )
    hold_off: float = parameter(
        0.4, help="Hold time of the arm after the human's release.", unit="s", low=0.0, high=10.0
    )
    stale: float = parameter(
        0.5,
        help="Time without a sample of the device after which the arm holds.",
        unit="s",
        low=0.05,
    )
    realtime_priority: int = parameter(
        45,
        help="Real-time priority (SCHED_FIFO) of the node where the system grants it, against latency on a busy "
        "computer; 0 for none.",
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
        help="Rest values of the six axes; empty for 0. Triggers of joy_node and joy_linux_node rest at 1 or -1. The "
        "device moves the arm only after every axis was at rest once.",
        low=-1.0,
        high=1.0,
    )
    dead_man: tuple[int, ...] = parameter(
        (),
        help="Buttons that enable the human's commands while held.",
        low=0,
        source=_GAME_CONTROLLER + "; RB",
    )
    success: tuple[int, ...] = parameter((), help="Buttons of the label success.", low=0, source="Y")
    failure: tuple[int, ...] = parameter((), help="Buttons of the label failure.", low=0, source="A or B")
    re_record: tuple[int, ...] = parameter(
        (), help="Buttons that discard and repeat the episode.", low=0, source="X"
    )
    hand_over: tuple[int, ...] = parameter(
        (), help="Buttons that start the critical phase.", low=0, source="LB"
    )
    start: tuple[int, ...] = parameter(
        (), help="Buttons that start an episode, or release the e-stop.", low=0, source="Start"
    )
    reset_done: tuple[int, ...] = parameter(
        (), help="Buttons that report the scene as ready.", low=0, source="D-pad up"
    )
    e_stop: tuple[int, ...] = parameter((), help="Buttons of the e-stop.", low=0, source="Back")
    gripper: tuple[int, ...] = parameter(
        (),
        help="Buttons that toggle the gripper while the human acts.",
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
                        f"button {button} is `{used[button]}` and `{name}`; give it one meaning"
                    )

    def completed(self) -> TeleopConfig:
        """Copy with the device's defaults for empty values."""
        empty: dict[str, Any] = {
            name: value for name, value in _DEFAULTS[self.device].items() if not getattr(self, name)
        }
        return replace(self, **empty)


GRIPPER = "gripper"
BUTTONS = ("success", "failure", "re_record", "hand_over", "start", "reset_done", "e_stop", GRIPPER)
"""Meanings of buttons, except dead-man."""

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
