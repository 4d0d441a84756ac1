"""What the messages of a bag are: which topics tell the stream of this package or of a robot, and their records.

Messages are read by the definitions of this package, with and without ROS 2 alike. Types that nothing here knows are
never looked at.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from rlt_ros.middleware.dds.definitions import type_hash
from rlt_ros.middleware.dds.message import deserialize_message, message_class
from rlt_ros.nodes.cameras import read_camera
from rlt_ros.nodes.conversions import to_ns
from rlt_ros.nodes.drivers import command_stamp, read_driver_course
from rlt_ros.offline.bag_files import Bag
from rlt_ros.offline.recorded import Recorded, Topic
from rlt_ros.perception import Observation
from rlt_ros.perception.joints import JointOrder
from rlt_ros.perception.synchroniser import SyncConfig, Synchroniser
from rlt_ros.robots.commands import CommandError
from rlt_ros.robots.interface import COMMAND_TYPES
from rlt_ros.robots.joint_states import JointStateReader
from rlt_ros.robots.joint_tracking import JointStateRejected, JointTracker
from rlt_ros.robots.profile import RobotProfile

Array = NDArray[np.float64]
Drop = Callable[[str, str], None]

STATE, STEP, EPISODE = "rlt/rl_state", "rlt/executed_step", "rlt/episode_state"
REQUEST, OBSERVATION = "rlt/chunk_request", "rlt/observation"
_OWN = {
    STATE: "rlt_ros/msg/RLState",
    STEP: "rlt_ros/msg/ExecutedStep",
    EPISODE: "rlt_ros/msg/EpisodeState",
    REQUEST: "rlt_ros/msg/ChunkRequest",
    OBSERVATION: "rlt_ros/msg/Observation",
}
_JOINTS = "sensor_msgs/msg/JointState"
_PICTURES = ("sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage")


class Way(enum.Enum):
    """How rows come out of a bag."""

    RECORDED = "recorded states"
    COMPUTED = "computed states"
    SAMPLED = "a recording without episodes"


def absolute(topic: str, namespace: str) -> str:
    """A topic's name in a bag."""
    if topic.startswith("/"):
        return topic
    return f"/{namespace}/{topic}" if namespace else f"/{topic}"


def namespaces(bag: Bag) -> list[str]:
    """Namespaces of the robots whose stream of this package is in a bag, without slashes at the ends."""
    ends = (f"/{EPISODE}", f"/{STEP}")
    found = {name[: -len(end)].strip("/") for name in bag.topics for end in ends if name.endswith(end)}
    return sorted(found)


def sensor_topics(profile: RobotProfile, namespace: str) -> dict[str, str]:
    """Topic → type of a robot's cameras and joint states."""
    topics = {absolute(camera.topic, namespace): camera.message_type for camera in profile.cameras.values()}
    topics.update({absolute(part.joint_states, namespace): _JOINTS for part in profile.drivers})
    return topics


def command_topics(profile: RobotProfile, namespace: str) -> dict[str, str]:
    """Topic → type of a robot's commands."""
    return {
        absolute(part.command.topic, namespace): COMMAND_TYPES[part.command.type] for part in profile.drivers
    }


def own_topics(namespace: str, *names: str) -> dict[str, str]:
    """Topic → type of this package's own."""
    return {absolute(name, namespace): _OWN[name] for name in names}


def needed(way: Way, bag: Bag, profile: RobotProfile, namespace: str) -> dict[str, str]:
    """Topic → type that a way is made of."""
    if way is Way.RECORDED:
        return own_topics(namespace, STATE, STEP, EPISODE)
    sensors = sensor_topics(profile, namespace)
    if way is Way.SAMPLED:
        return {**sensors, **command_topics(profile, namespace)}
    seen = own_topics(namespace, OBSERVATION)
    if not lacking(bag, sensors) and lacking(bag, seen):
        seen = sensors
    return {**own_topics(namespace, STEP, EPISODE, REQUEST), **seen}


def lacking(bag: Bag, topics: Mapping[str, str]) -> list[str]:
    """What a bag lacks of some topics, in words."""
    return [fault for name, kind in topics.items() if (fault := _fault(bag.topics.get(name), name, kind))]


def _fault(topic: Topic | None, name: str, kind: str) -> str:
    if topic is None:
        return f"{name} ({kind}) is not in it"
    if topic.type != kind:
        remedy = "; `encoding` of the camera in the profile says which" if topic.type in _PICTURES else ""
        return f"{name} is {topic.type}, expected {kind}{remedy}"
    if kind.startswith("rlt_ros/") and _digest(topic) not in ("", type_hash(kind)):
        return f"{name} was recorded with another definition of {kind}; read it with the version that recorded it"
    return ""


def _digest(topic: Topic) -> str:
    """Hash of a topic's type, from what the bag says of it; empty where it says nothing."""
    if topic.digest or not topic.definition or topic.definition.startswith("="):
        return topic.digest
    store = get_typestore(Stores.EMPTY)
    try:
        store.register(get_types_from_msg(topic.definition, topic.type))
        return str(store.hash_rihs01(topic.type))
    except Exception:  # a definition that the library cannot read proves nothing
        return ""


def read(recorded: Recorded) -> Any:
    """The message.

    Raises:
        ValueError: its bytes are none.
    """
    return deserialize_message(recorded.data, message_class(recorded.type))


class Sensors:
    """Cameras and joint states of a robot, as they were recorded, to observations.

    Args:
        profile: the robot.
        namespace: its namespace.
        size: height and width of the pictures that the VLA takes.
        config: which samples belong together.
        drop: called with kind and detail of everything that is not used.
        jumps: drop joint states that the arm cannot have moved to. False for simulators, whose resets put it there.
    """

    def __init__(
        self,
        profile: RobotProfile,
        namespace: str,
        size: tuple[int, int],
        config: SyncConfig,
        drop: Drop,
        *,
        jumps: bool = True,
    ) -> None:
        self._size, self._drop = size, drop
        self._sync = Synchroniser(config, list(profile.cameras), drop)
        self._reader, self._order = JointStateReader(profile.drivers), JointOrder(profile.joints)
        self._tracker = JointTracker(profile.tracked_joints.first(profile.dim), jumps=jumps)
        self._cameras = {absolute(one.topic, namespace): (name, one) for name, one in profile.cameras.items()}
        self._parts = {absolute(part.joint_states, namespace): i for i, part in enumerate(profile.drivers)}
        self.topics = {**sensor_topics(profile, namespace)}
        self.position: tuple[int, Array] | None = (
            None  # stamp and positions (A,) of the joint state just read
        )

    def take(self, recorded: Recorded) -> list[Observation]:
        """Take a message; returns the observations that it completes.

        Raises:
            ValueError: it cannot be used.
        """
        self.position = None
        message = read(recorded)
        stamp = to_ns(message.header.stamp)
        if recorded.topic in self._cameras:
            name, camera = self._cameras[recorded.topic]
            return self._sync.add_picture(name, stamp, read_camera(message, camera, self._size), None)
        positions, velocities = np.array(message.position), np.array(message.velocity)
        joints = self._reader.read(self._parts[recorded.topic], stamp, message.name, positions, velocities)
        if joints is None:
            return []
        position, velocity = self._order.pick(
            joints.names, joints.positions.tolist(), joints.velocities.tolist()
        )
        try:
            state = self._tracker.update(joints.stamp, position, now=recorded.time)
        except JointStateRejected as error:
            self._drop(error.kind, str(error))
            return []
        self.position = joints.stamp, state.positions
        believed = self._tracker.believable(velocity)
        return self._sync.add_joints(joints.stamp, state.positions, believed, None, relocated=state.relocated)


class Commands:
    """Commands to a robot's drivers, as they were recorded.

    Args:
        profile: the robot.
        namespace: its namespace.
    """

    def __init__(self, profile: RobotProfile, namespace: str) -> None:
        self._profile, self._period = profile, 1.0 / profile.control_hz
        mask = profile.continuous
        self._continuous = {joint for joint, endless in zip(profile.joints, mask, strict=True) if endless}
        self._parts = {absolute(part.command.topic, namespace): i for i, part in enumerate(profile.drivers)}
        self.topics = command_topics(profile, namespace)

    def take(self, recorded: Recorded, position: Array) -> tuple[int, int, Array]:
        """Which driver's, stamp (0 for none), and its joints' targets (K, J) rad, one row a control period.

        Args:
            recorded: the message.
            position: (A,) rad, where the arm was measured before.

        Raises:
            ValueError: it does not say what all joints of the driver shall do.
        """
        message = read(recorded)
        index = self._parts[recorded.topic]
        part = self._profile.drivers[index]
        measured = dict(zip(self._profile.joints, position.tolist(), strict=True))
        names, targets = read_driver_course(part, message, self._period, measured, self._continuous)
        missing = [joint for joint in part.joints if joint not in names]
        if missing:
            raise CommandError(f"it has no target for {', '.join(missing)}")
        return index, command_stamp(message), targets[:, [names.index(joint) for joint in part.joints]]


def readable(bag: Bag, topics: Mapping[str, str]) -> Iterator[Any]:
    """Messages of some topics, read; those that are malformed are left out."""
    for recorded in bag.messages(topics):
        try:
            yield read(recorded)
        except ValueError:
            continue
