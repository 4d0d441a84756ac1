"""Topics of a robot's drivers: joint states in, commands out, as described by the robot profile.

`robots.joint_states` and `robots.commands` interpret the messages.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rlt_ros.middleware import Node, QoSProfile, Subscription
from rlt_ros.middleware.arrays import pack
from rlt_ros.middleware.messages import JointState, UnknownMessageType, message_type
from rlt_ros.robots.commands import (
    CommandError,
    CommandWriter,
    GroupTargets,
    NamedTargets,
    Record,
    Trajectory,
    TrajectoryPoint,
    Values,
    read_command,
    read_trajectory,
)
from rlt_ros.robots.interface import COMMAND_TYPES, PartProfile
from rlt_ros.robots.joint_states import JointStateReader
from rlt_ros.robots.profile import RobotProfile
from rlt_ros.ros import qos
from rlt_ros.ros.conversions import to_duration, to_header, to_ns
from rlt_ros.ros.diagnostics import ERROR, STALE, Dropped, Report
from rlt_ros.ros.gripper_output import GripperInterfaceError, GripperOutput
from rlt_ros.ros.run import NodeConfigurationError
from rlt_ros.ros.topics import Topics

Array = NDArray[np.float64]


def subscribe_joints(
    topics: Topics,
    profile: RobotProfile,
    callback: Callable[[Any], Any],
    quality: QoSProfile,
    dropped: Dropped,
) -> list[Subscription]:
    """Subscribe to the joint states of all drivers; ``callback`` gets `JointState` with the profile's names, in rad.

    Velocities are those of the driver; without them the field is empty, or NaN for some joints.
    """
    reader = JointStateReader(profile.drivers)
    if reader.is_plain:
        return [topics.subscription(JointState, profile.drivers[0].joint_states, callback, quality)]

    def read(index: int, message: Any) -> None:
        positions, velocities = np.array(message.position), np.array(message.velocity)
        try:
            joints = reader.read(index, to_ns(message.header.stamp), message.name, positions, velocities)
        except ValueError as error:
            dropped.add("unusable joint state", str(error))
            return
        if joints is not None:
            callback(
                JointState(
                    header=to_header(joints.stamp, message.header.frame_id),
                    name=list(joints.names),
                    position=pack(joints.positions),
                    velocity=pack(joints.velocities),
                )
            )

    return [
        topics.subscription(JointState, part.joint_states, partial(read, index), quality)
        for index, part in enumerate(profile.drivers)
    ]


class CommandPublishers:
    """Publishers of commands to all drivers, between `open` and `close`.

    Args:
        node: owner of the publishers.
        topics: factory of publishers.
        profile: robot profile.
        stamped: trajectories have the stamp of the joint state that they answer, as lock-step needs. A controller of
            a real robot would use the stamp as start time and drop past points.

    Raises:
        NodeConfigurationError: the message type of a driver is not installed.
    """

    def __init__(self, node: Node, topics: Topics, profile: RobotProfile, *, stamped: bool) -> None:
        self._node, self._endpoints, self._profile, self._stamped = node, topics, profile, stamped
        self._types = [command_type(part) for part in profile.drivers]
        self._joint_indices = [
            [profile.joints.index(joint) for joint in part.joints] for part in profile.drivers
        ]
        self._held_indices = [[profile.held.index(joint) for joint in part.held] for part in profile.drivers]
        continuous = profile.continuous_names
        self._writers = [
            CommandWriter(part, 1.0 / profile.control_hz, continuous) for part in profile.drivers
        ]
        self._publishers: list[Any] = []
        self._gripper: GripperOutput | None = None
        self._gripper_fault = ""
        gripper = profile.gripper
        self._gripper_joint = (
            profile.gripper_message_name if gripper is not None and gripper.type == "joint" else None
        )
        self.topics = tuple(node.resolve_topic_name(part.command.topic) for part in profile.drivers)

    @property
    def is_open(self) -> bool:
        """Return True between `open` and `close`."""
        return bool(self._publishers)

    def open(self) -> None:
        """Create the publishers."""
        parts = zip(self._types, self._profile.drivers, strict=True)
        self._publishers = [
            self._endpoints.publisher(kind, part.command.topic, qos.COMMAND) for kind, part in parts
        ]
        gripper, joint = self._profile.gripper, self._profile.gripper_message_name
        if gripper is not None and joint is not None and gripper.type != "joint":
            try:
                self._gripper = GripperOutput(self._node, self._endpoints, gripper, joint)
            except GripperInterfaceError as error:
                # Only a human commands the gripper; the arm works without it.
                self._gripper_fault = f"the gripper cannot be commanded: {error}"
                self._node.get_logger().error(self._gripper_fault)

    def close(self) -> None:
        """Destroy the publishers."""
        for publisher in self._publishers:
            self._node.destroy_publisher(publisher)
        self._publishers = []
        if self._gripper is not None:
            self._gripper.close()
            self._gripper = None
        self.rest()

    def rest(self) -> None:
        """Start the next command from standstill."""
        for writer in self._writers:
            writer.rest()

    def report_gripper(self) -> Report:
        """State of the commands to a gripper with its own topic or action."""
        if self._gripper_fault:
            return ERROR, self._gripper_fault, {}
        return (STALE, "inactive", {}) if self._gripper is None else self._gripper.report()

    def publish_gripper(self, stamp: int, gripper: float) -> None:
        """Publish the command of a gripper with its own topic or action, if it changed or was lost.

        Args:
            stamp: ns.
            gripper: command in the unit of the gripper.
        """
        if self._gripper is not None:
            self._gripper.send(gripper, stamp)

    def publish(self, stamp: int, target: Array, gripper: float | None, held: Array) -> None:
        """Publish joint targets.

        Args:
            stamp: ns.
            target: (A,) rad.
            gripper: command in the unit of the gripper; None for no command.
            held: (H,) rad, targets of `RobotProfile.held`.

        Raises:
            CommandError: a target is not finite or has a wrong shape; nothing is published.
        """
        parts = zip(self._writers, self._joint_indices, self._held_indices, strict=True)
        records = [writer.write(target[places], held[others]) for writer, places, others in parts]
        if gripper is not None:
            self.publish_gripper(stamp, gripper)
        for record, publisher in zip(records, self._publishers, strict=True):
            if gripper is not None and self._gripper_joint is not None:
                record = _with_gripper(record, self._gripper_joint, gripper)
            publisher.publish(self._message(record, stamp))

    def _message(self, record: Record, stamp: int) -> Any:
        header = to_header(stamp, self._profile.base_frame)
        if isinstance(record, NamedTargets):
            return JointState(header=header, name=list(record.names), position=pack(record.positions))
        if isinstance(record, Trajectory):
            point = message_type("trajectory_msgs/msg/JointTrajectoryPoint")
            return message_type(COMMAND_TYPES["joint_trajectory"])(
                header=header if self._stamped else to_header(0, self._profile.base_frame),
                joint_names=list(record.names),
                points=[
                    point(
                        positions=pack(one.positions),
                        velocities=pack(one.velocities),
                        time_from_start=to_duration(round(one.time * 1e9)),
                    )
                    for one in record.points
                ],
            )
        if isinstance(record, Values):
            return message_type(COMMAND_TYPES["forward"])(data=pack(record.values))
        values = pack(record.values.astype(np.float32))
        return message_type(COMMAND_TYPES["interbotix"])(name=record.group, cmd=values)


def subscribe_commands(topics: Topics, part: PartProfile, callback: Callable[[Any], Any]) -> Subscription:
    """Subscribe to the commands of one driver (used by the simulator)."""
    return topics.subscription(command_type(part), part.command.topic, callback, qos.COMMAND)


def command_stamp(message: Any) -> int:
    """Stamp of a command, ns; 0 without one."""
    return to_ns(message.header.stamp) if hasattr(message, "header") else 0


def read_driver_command(part: PartProfile, message: Any) -> tuple[list[str], Array]:
    """Joints and their targets rad in a command.

    Raises:
        CommandError: the driver would refuse the command.
    """
    return read_command(part, _record(part, message))


def read_driver_course(
    part: PartProfile, message: Any, period: float, measured: Mapping[str, float], continuous: Collection[str]
) -> tuple[list[str], Array]:
    """Joints and their targets (K, J) rad, one row per control period; see `robots.commands.read_trajectory`.

    Raises:
        CommandError: the command is incomplete.
    """
    return read_trajectory(part, _record(part, message), period, measured, continuous)


def _record(part: PartProfile, message: Any) -> Record:
    kind = part.command.type
    if kind == "joint_state":
        return NamedTargets(tuple(message.name), np.array(message.position))
    if kind == "joint_trajectory":
        points = tuple(
            TrajectoryPoint(
                np.array(point.positions), np.array(point.velocities), to_ns(point.time_from_start) * 1e-9
            )
            for point in message.points
        )
        return Trajectory(tuple(message.joint_names), points)
    if kind == "forward":
        return Values(np.array(message.data))
    return GroupTargets(message.name, np.array(message.cmd))


def command_type(part: PartProfile) -> type[Any]:
    """Message class of the commands to a driver.

    Raises:
        NodeConfigurationError: its ROS package is not installed.
    """
    name = COMMAND_TYPES[part.command.type]
    try:
        kind: type[Any] = message_type(name)
    except UnknownMessageType as error:
        package = name.split("/")[0]
        raise NodeConfigurationError(
            f"`command.type` is {part.command.type}, which needs the ROS package {package}: {error}; install it and "
            "source its workspace"
        ) from error
    return kind


def _with_gripper(record: Record, joint: str, position: float) -> Record:
    if not isinstance(record, NamedTargets):
        raise CommandError(
            f"a command of this type cannot contain {joint}; `gripper.type: joint` needs `command.type: joint_state`"
        )
    return NamedTargets((*record.names, joint), np.append(record.positions, position))
