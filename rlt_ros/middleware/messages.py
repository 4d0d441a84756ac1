"""Message classes by name: ``from rlt_ros.middleware.messages import JointState, RLState``.

Where ROS 2 is sourced, these are its generated classes; elsewhere, classes made from the same definitions on first
use.
"""

from __future__ import annotations

import importlib
from typing import Any

from rlt_ros.middleware.choice import IMPLEMENTATION

_PACKAGES = {
    "builtin_interfaces": ("Duration", "Time"),
    "diagnostic_msgs": ("DiagnosticArray", "DiagnosticStatus", "KeyValue"),
    "geometry_msgs": (
        "Point",
        "Pose",
        "PoseArray",
        "PoseStamped",
        "Quaternion",
        "Transform",
        "TransformStamped",
        "Twist",
        "TwistStamped",
        "Vector3",
        "WrenchStamped",
    ),
    "nav_msgs": ("Path",),
    "rcl_interfaces": (
        "FloatingPointRange",
        "IntegerRange",
        "Log",
        "ParameterDescriptor",
        "SetParametersResult",
    ),
    "rlt_ros": (
        "ActionChunk",
        "ChunkRequest",
        "EpisodeEvent",
        "EpisodeState",
        "ExecutedStep",
        "Intervention",
        "LearnerStatus",
        "Lineage",
        "Observation",
        "PolicyUpdate",
        "RLState",
        "ReplayStatus",
    ),
    "rosgraph_msgs": ("Clock",),
    "sensor_msgs": ("CameraInfo", "CompressedImage", "Image", "JointState", "Joy"),
    "std_msgs": ("Bool", "ColorRGBA", "Empty", "Float32", "Float64MultiArray", "Header", "String"),
    "tf2_msgs": ("TFMessage",),
    "trajectory_msgs": ("JointTrajectory", "JointTrajectoryPoint"),
    "visualization_msgs": ("Marker", "MarkerArray"),
}
_PACKAGE_OF = {name: package for package, names in _PACKAGES.items() for name in names}


class UnknownMessageType(ValueError):
    """The message type is not installed."""


def message_type(name: str) -> Any:
    """Class of any message type, e.g. ``sensor_msgs/msg/JointState``, also of types not listed in this module.

    Raises:
        UnknownMessageType: the type is not defined, or its ROS package is not installed.
    """
    try:
        package, _, short = name.split("/")
    except ValueError:
        raise UnknownMessageType(
            f"`{name}` is no message type; give one such as std_msgs/msg/String"
        ) from None
    if IMPLEMENTATION == "rclpy":
        try:
            return getattr(importlib.import_module(f"{package}.msg"), short)
        except (ImportError, AttributeError) as error:
            raise UnknownMessageType(f"message type `{name}` cannot be imported: {error}") from error
    from rlt_ros.middleware.dds.definitions import UnknownType
    from rlt_ros.middleware.dds.message import message_class

    try:
        return message_class(name)
    except UnknownType as error:
        raise UnknownMessageType(str(error)) from error


def type_name(message: Any) -> str:
    """Full name of the type of a message or of a message class."""
    cls = message if isinstance(message, type) else type(message)
    return f"{cls.__module__.split('.')[0]}/msg/{cls.__name__}"


def __getattr__(name: str) -> Any:
    if name not in _PACKAGE_OF:
        raise AttributeError(
            f"there is no message `{name}` in this module; message_type() finds types that are not listed here"
        )
    value = message_type(f"{_PACKAGE_OF[name]}/msg/{name}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_PACKAGE_OF])
