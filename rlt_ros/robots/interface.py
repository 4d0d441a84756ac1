"""Interface of a robot's drivers: topics, message types, names and units of joint states, commands and images."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Mapping

from rlt_ros.store.parameters import ConfigError, check, parameter

COMMAND_TYPES = {
    "joint_state": "sensor_msgs/msg/JointState",
    "joint_trajectory": "trajectory_msgs/msg/JointTrajectory",
    "forward": "std_msgs/msg/Float64MultiArray",
    "interbotix": "interbotix_xs_msgs/msg/JointGroupCommand",
}
"""`command.type` → message type on the topic."""

RAW_ENCODINGS = ("rgb8", "bgr8", "rgba8", "bgra8", "mono8")
"""Encodings of `sensor_msgs/Image` that can be converted to RGB; `rlt_ros.perception.pictures` reads them."""

COMPRESSED = "compressed"
"""Encoding of `sensor_msgs/CompressedImage`, JPEG or PNG files; `rlt_ros.perception.compressed` reads them."""

CONTINUOUS, WRAPPED = "continuous", "wrapped"
"""Choices of `command.turns`."""

_UNITS = {"rad": 1.0, "deg": math.pi / 180}
_TOPIC = re.compile(r"/?[A-Za-z_]\w*(/[A-Za-z_]\w*)*", re.ASCII)


def canonical_topic(topic: str) -> str:
    """Canonical spelling of a topic in any namespace: without leading, trailing and doubled slashes."""
    return "/".join(part for part in topic.split("/") if part)


def check_distinct(topics: Mapping[str, str]) -> None:
    """Check that no topic is named twice.

    Args:
        topics: key of the profile → topic.

    Raises:
        ConfigError: two keys name one topic, in any spelling.
    """
    keys: dict[str, str] = {}
    for key, topic in topics.items():
        other = keys.setdefault(canonical_topic(topic), key)
        if other != key:
            raise ConfigError(
                f"`{key}` is {topic} and `{other}` is {topics[other]}, which is the same topic; give each its own"
            )


def check_topic(name: str, topic: str) -> None:
    """Raise ConfigError unless ``topic``, the value of key ``name``, can be a topic's name."""
    if topic.startswith("~"):
        raise ConfigError(
            f"`{name}` is {topic!r}, a private name of each node; write the topic in full, like camera/color"
        )
    if not _TOPIC.fullmatch(topic):
        raise ConfigError(
            f"`{name}` is {topic!r}; it must be a topic's name, like camera/color or /joint_states"
        )


@dataclasses.dataclass(frozen=True)
class CameraProfile:
    """One camera."""

    topic: str = parameter(
        dataclasses.MISSING,
        help="Topic of the images, relative to the namespace of the robot. Compressed topics of image_transport end "
        "in `/compressed`.",
    )
    encoding: str = parameter(
        "rgb8",
        help="Encoding of the images. `compressed`: JPEG or PNG, 8 bits per channel, as `sensor_msgs/CompressedImage`; "
        "transparency and EXIF orientation are ignored. Any other: `sensor_msgs/Image` in this encoding. Images in "
        "another encoding are dropped and counted.",
        choices=(*RAW_ENCODINGS, COMPRESSED),
    )

    def __post_init__(self) -> None:
        check(self)
        check_topic("topic", self.topic)

    @property
    def is_compressed(self) -> bool:
        """Return whether it publishes JPEG or PNG files."""
        return self.encoding == COMPRESSED

    @property
    def message_type(self) -> str:
        """Type of its messages."""
        return "sensor_msgs/msg/CompressedImage" if self.is_compressed else "sensor_msgs/msg/Image"


@dataclasses.dataclass(frozen=True)
class CommandProfile:
    """Command interface of the robot: one message of absolute joint targets per control step."""

    topic: str = parameter("joint_command", help="Topic of the commands, relative to the robot's namespace.")
    type: str = parameter(
        "joint_state",
        help="`joint_state`: targets by name, as `sensor_msgs/JointState`. `joint_trajectory`: for a "
        "JointTrajectoryController, as `trajectory_msgs/JointTrajectory` that passes the target after one control "
        "period and is at rest after two, so that the arm stops without further commands. `forward`: for "
        "a ForwardCommandController, as `std_msgs/Float64MultiArray`. `interbotix`: for Interbotix X-series arms, as "
        "`interbotix_xs_msgs/JointGroupCommand`.",
        choices=tuple(COMMAND_TYPES),
    )
    order: tuple[str, ...] | None = parameter(
        None,
        help="All joints of a command, in the order of the controller; left out, those that the policy moves. Others "
        "are held at their measured position from the start of each motion.",
    )
    group: str = parameter("arm", help="`interbotix`: name of the group of joints.")
    turns: str = parameter(
        CONTINUOUS,
        help="Targets of `continuous_joints`. `continuous`: without a jump at the seam, counting turns; the "
        "controller must take the short way from the reported position to the target, as JointTrajectoryController "
        "does for continuous joints from ROS 2 Jazzy on. `wrapped`: in (-π, π], for interfaces that refuse others.",
        choices=(CONTINUOUS, WRAPPED),
    )

    def __post_init__(self) -> None:
        check(self)
        check_topic("topic", self.topic)
        if self.order is not None and len(set(self.order)) != len(self.order):
            raise ConfigError(f"`order` is {list(self.order)}; name each joint once")


@dataclasses.dataclass(frozen=True)
class PartProfile:
    """One driver of a robot that has several, such as an arm of two."""

    joints: tuple[str, ...] = parameter(
        dataclasses.MISSING,
        help="Joints of this driver among `joints` of the robot; each belongs to one part.",
    )
    joint_states: str = parameter(dataclasses.MISSING, help="Topic of the measured joint states.")
    command: CommandProfile = dataclasses.field(default_factory=CommandProfile)
    message_names: Mapping[str, str] | None = parameter(
        None, help="Joint, also of the gripper → its name in this driver's messages, where that differs."
    )
    joint_order: tuple[str, ...] | None = parameter(
        None,
        help="Joints in the order of joint states without usable names; left out, joints are matched by name.",
    )
    unit: str = parameter(
        "rad", help="Unit of joint angles in this driver's messages.", choices=tuple(_UNITS)
    )

    def __post_init__(self) -> None:
        check(self)
        check_topic("joint_states", self.joint_states)
        if not self.joints or len(set(self.joints)) != len(self.joints):
            raise ConfigError(f"`joints` is {list(self.joints)}; name each joint once")
        for key in ("joint_order", "command.order"):
            order = self.command.order if key == "command.order" else self.joint_order
            lacking = [joint for joint in self.joints if order is not None and joint not in order]
            if lacking:
                raise ConfigError(f"`{key}` lacks {', '.join(lacking)} of `joints`")
        joints = dict.fromkeys((*self.command_joints, *(self.message_names or ())))
        names = [self.message_name(joint) for joint in joints]
        if len(set(names)) != len(names):
            raise ConfigError(f"`message_names` names the joints {names}; each needs its own name")

    @property
    def command_joints(self) -> tuple[str, ...]:
        """Joints of a command, in its order."""
        return self.command.order or self.joints

    @property
    def held(self) -> tuple[str, ...]:
        """Joints of a command outside the policy's."""
        return tuple(joint for joint in self.command_joints if joint not in self.joints)

    @property
    def scale(self) -> float:
        """Size of one unit of the driver, rad."""
        return _UNITS[self.unit]

    @property
    def joint_names(self) -> dict[str, str]:
        """Name in messages → joint, of all joints in the profile."""
        return {
            self.message_name(joint): joint for joint in (*self.command_joints, *(self.message_names or ()))
        }

    def message_name(self, joint: str) -> str:
        """Name of a joint in messages."""
        return (self.message_names or {}).get(joint, joint)
