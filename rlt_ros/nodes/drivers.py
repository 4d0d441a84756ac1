"""A robot's drivers in the graph: their joint states in, commands out, as the robot profile describes them.

What the messages mean is in `robots.joint_states` and `robots.commands`; here they only come and go.
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
from rlt_ros.nodes import qos
from rlt_ros.nodes.conversions import to_duration, to_header, to_ns
from rlt_ros.nodes.diagnostics import ERROR, STALE, Dropped, Report
from rlt_ros.nodes.gripper_output import GripperInterfaceError, GripperOutput
from rlt_ros.nodes.run import NodeConfigurationError
from rlt_ros.nodes.topics import Topics
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

Array = NDArray[np.float64]


def subscribe_joints(
    topics: Topics,
    profile: RobotProfile,
    callback: Callable[[Any], Any],
    quality: QoSProfile,
    dropped: Dropped,
) -> list[Subscription]:
    """Joint states of all drivers: ``callback`` gets `JointState` with the robot's own joint names, in rad.

    Velocities are those of the driver: none, or NaN for some joints, where it says none.
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
    """Publishes commands to all drivers, between `open` and `close`.

    Args:
        node: whose they are.
        topics: makes them.
        profile: the robot.
        stamped: whether trajectories carry the stamp of what they answer, as lock-step needs; a controller of a real
            robot would take a stamp for the moment to start, and drop what is past by its clock.

    Raises:
        NodeConfigurationError: the message type of a driver is not installed.
    """

    def __init__(self, node: Node, topics: Topics, profile: RobotProfile, *, stamped: bool) -> None:
        self._node, self._endpoints, self._profile, self._stamped = node, topics, profile, stamped
        self._types = [command_type(part) for part in profile.drivers]
        self._places = [[profile.joints.index(joint) for joint in part.joints] for part in profile.drivers]
        self._held = [[profile.held.index(joint) for joint in part.held] for part in profile.drivers]
        endless = profile.continuous_names
        self._writers = [CommandWriter(part, 1.0 / profile.control_hz, endless) for part in profile.drivers]
        self._publishers: list[Any] = []
        self._gripper: GripperOutput | None = None
        self._no_gripper = ""
        gripper = profile.gripper
        self._joint_of_gripper = (
            profile.gripper_message_name if gripper is not None and gripper.type == "joint" else None
        )
        self.topics = tuple(node.resolve_topic_name(part.command.topic) for part in profile.drivers)

    @property
    def is_open(self) -> bool:
        """Return whether commands can be published."""
        return bool(self._publishers)

    def open(self) -> None:
        """Begin to publish."""
        parts = zip(self._types, self._profile.drivers, strict=True)
        self._publishers = [
            self._endpoints.publisher(kind, part.command.topic, qos.COMMAND) for kind, part in parts
        ]
        gripper, joint = self._profile.gripper, self._profile.gripper_message_name
        if gripper is not None and joint is not None and gripper.type != "joint":
            try:
                self._gripper = GripperOutput(self._node, self._endpoints, gripper, joint)
            except GripperInterfaceError as error:  # the human's alone: the arm works without
                self._no_gripper = f"nobody can command the gripper: {error}"
                self._node.get_logger().error(self._no_gripper)

    def close(self) -> None:
        """Publish no more."""
        for publisher in self._publishers:
            self._node.destroy_publisher(publisher)
        self._publishers = []
        if self._gripper is not None:
            self._gripper.close()
            self._gripper = None
        self.rest()

    def rest(self) -> None:
        """Let the next command start from standstill."""
        for writer in self._writers:
            writer.rest()

    def report_gripper(self) -> Report:
        """What became of the commands to a gripper that has a topic or an action of its own."""
        if self._no_gripper:
            return ERROR, self._no_gripper, {}
        return (STALE, "inactive", {}) if self._gripper is None else self._gripper.report()

    def publish_gripper(self, stamp: int, gripper: float) -> None:
        """Publish the command of a gripper that has a topic or an action of its own, if it changed or was lost.

        Args:
            stamp: ns.
            gripper: in its own unit.
        """
        if self._gripper is not None:
            self._gripper.send(gripper, stamp)

    def publish(self, stamp: int, target: Array, gripper: float | None, held: Array) -> None:
        """Publish joint targets.

        Args:
            stamp: ns.
            target: (A,) rad.
            gripper: in its own unit; None to leave it alone.
            held: (H,) rad, of `RobotProfile.held`.

        Raises:
            CommandError: a target is not finite or of a wrong shape; nothing is published.
        """
        parts = zip(self._writers, self._places, self._held, strict=True)
        records = [writer.write(target[places], held[others]) for writer, places, others in parts]
        if gripper is not None:
            self.publish_gripper(stamp, gripper)
        for record, publisher in zip(records, self._publishers, strict=True):
            if gripper is not None and self._joint_of_gripper is not None:
                record = _with_gripper(record, self._joint_of_gripper, gripper)
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
    """Commands to one driver, for who stands in for it."""
    return topics.subscription(command_type(part), part.command.topic, callback, qos.COMMAND)


def command_stamp(message: Any) -> int:
    """Stamp of a command, ns; 0 where it has none."""
    return to_ns(message.header.stamp) if hasattr(message, "header") else 0


def read_driver_command(part: PartProfile, message: Any) -> tuple[list[str], Array]:
    """Joints and their targets rad, as the driver would take them.

    Raises:
        CommandError: it would refuse them.
    """
    return read_command(part, _record(part, message))


def read_driver_course(
    part: PartProfile, message: Any, period: float, measured: Mapping[str, float], continuous: Collection[str]
) -> tuple[list[str], Array]:
    """Joints and their targets (K, J) rad, one row a control period; see `robots.commands.read_trajectory`.

    Raises:
        CommandError: it does not say what it would have the arm do.
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
    """Class of the commands to a driver.

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
        raise CommandError(f"there is no room for {joint} in a command that is no joint state")
    return NamedTargets((*record.names, joint), np.append(record.positions, position))
