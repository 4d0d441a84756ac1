"""Messages of a bag: topics of this package and of a robot, and their conversion to records.

Messages are deserialised by the definitions of this package, with and without ROS 2. Unknown types are ignored.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from rlt_ros.bags.bag_files import Bag
from rlt_ros.bags.bag_records import BagMessage, Topic
from rlt_ros.bags.stamps import Stamps
from rlt_ros.middleware.dds.definitions import type_hash
from rlt_ros.middleware.dds.message import deserialize_message, message_class
from rlt_ros.perception import Observation
from rlt_ros.perception.joints import JointGatherer, JointSample
from rlt_ros.perception.pictures import Pixels, resize
from rlt_ros.perception.synchroniser import SyncConfig, Synchroniser
from rlt_ros.robots.commands import CommandError
from rlt_ros.robots.interface import COMMAND_TYPES, CameraProfile
from rlt_ros.robots.joint_states import JointStateReader
from rlt_ros.robots.joint_tracking import JointStateRejected, JointTracker
from rlt_ros.robots.profile import RobotProfile
from rlt_ros.ros.cameras import read_camera
from rlt_ros.ros.conversions import read_picture, to_ns
from rlt_ros.ros.drivers import command_stamp, read_driver_course

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


class ReadMode(enum.Enum):
    """Method to make rows of a bag."""

    RECORDED = "recorded states"
    COMPUTED = "computed states"
    SAMPLED = "a recording without episodes"


def absolute(topic: str, namespace: str) -> str:
    """Absolute name of a topic in a bag."""
    if topic.startswith("/"):
        return topic
    return f"/{namespace}/{topic}" if namespace else f"/{topic}"


def namespaces(bag: Bag) -> list[str]:
    """Namespaces with topics of this package in a bag, without slashes at the ends."""
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
    """Topic → type of topics of this package."""
    return {absolute(name, namespace): _OWN[name] for name in names}


def required_topics(way: ReadMode, bag: Bag, profile: RobotProfile, namespace: str) -> dict[str, str]:
    """Topic → type that a mode needs."""
    if way is ReadMode.RECORDED:
        return own_topics(namespace, STATE, STEP, EPISODE)
    sensors = sensor_topics(profile, namespace)
    if way is ReadMode.SAMPLED:
        return {**sensors, **command_topics(profile, namespace)}
    seen = own_topics(namespace, OBSERVATION)
    if not missing_topics(bag, sensors) and missing_topics(bag, seen):
        seen = sensors
    return {**own_topics(namespace, STEP, EPISODE, REQUEST), **seen}


def missing_topics(bag: Bag, topics: Mapping[str, str]) -> list[str]:
    """Text for each topic that is missing or unusable in a bag."""
    return [fault for name, kind in topics.items() if (fault := _fault(bag.topics.get(name), name, kind))]


def _fault(topic: Topic | None, name: str, kind: str) -> str:
    if topic is None:
        return f"{name} ({kind}) is not in it"
    if topic.type != kind:
        remedy = "; set `encoding` of the camera in the profile" if topic.type in _PICTURES else ""
        return f"{name} is {topic.type}, expected {kind}{remedy}"
    if kind.startswith("rlt_ros/") and _digest(topic) not in ("", type_hash(kind)):
        return f"{name} was recorded with another definition of {kind}; read it with the version that recorded it"
    return ""


def _digest(topic: Topic) -> str:
    """Type hash of a topic, from hash or definition in the bag; empty without both."""
    if topic.digest or not topic.definition or topic.definition.startswith("="):
        return topic.digest
    store = get_typestore(Stores.EMPTY)
    try:
        store.register(get_types_from_msg(topic.definition, topic.type))
        return str(store.hash_rihs01(topic.type))
    except Exception:
        # The library cannot parse this definition, so it cannot be compared.
        return ""


def read(recorded: BagMessage) -> Any:
    """Deserialise a message.

    Raises:
        ValueError: malformed data.
    """
    return deserialize_message(recorded.data, message_class(recorded.type))


class RecordedSensors:
    """Cameras and joint states of a robot, as they were recorded, to observations.

    Args:
        profile: the robot.
        namespace: its namespace.
        size: height and width of the pictures that the VLA takes.
        config: which samples belong together.
        stamps: of the bag.
        drop: called with kind and detail of everything that is not used.
        jumps: drop joint states that the arm cannot have moved to. False for simulators, whose resets put it there.
    """

    def __init__(
        self,
        profile: RobotProfile,
        namespace: str,
        size: tuple[int, int],
        config: SyncConfig,
        stamps: Stamps,
        drop: Drop,
        *,
        jumps: bool = True,
    ) -> None:
        self._size, self._stamps, self._drop = size, stamps, drop
        self._sync = Synchroniser(config, list(profile.cameras), drop)
        self._readers = [JointStateReader([part]) for part in profile.drivers]
        self._own = [set(part.joints) for part in profile.drivers]
        self._joints = JointGatherer(profile.joints)
        self._tracker = JointTracker(profile.tracked_joints.first(profile.dim), jumps=jumps)
        self._cameras = {absolute(one.topic, namespace): (name, one) for name, one in profile.cameras.items()}
        self._parts = {absolute(part.joint_states, namespace): i for i, part in enumerate(profile.drivers)}
        self.topics = {**sensor_topics(profile, namespace)}
        self.position: tuple[int, Array] | None = None
        """Stamp and positions (A,) of the joint state just read."""
        self.relocated = False
        """True if the arm cannot have moved there from the previous joint state."""
        self.encodings: dict[str, str] = {}
        """Topic of a camera → encoding of its pictures, where it is not the profile's."""

    def take(self, recorded: BagMessage) -> list[Observation]:
        """Take a message; returns the observations that it completes.

        Raises:
            ValueError: it cannot be used.
        """
        self.position = None
        message = read(recorded)
        stamp = self._stamps.of(recorded.topic, recorded.time, to_ns(message.header.stamp))
        if recorded.topic in self._cameras:
            name, camera = self._cameras[recorded.topic]
            picture = self._picture(recorded.topic, message, camera)
            return self._sync.add_picture(name, stamp, picture, None)
        joints = self._joint_state(self._parts[recorded.topic], stamp, message)
        if joints is None:
            return []
        try:
            state = self._tracker.update(joints.stamp, joints.position, now=recorded.time)
        except JointStateRejected as error:
            self._drop(error.kind, str(error))
            return []
        self.position, self.relocated = (joints.stamp, state.positions), state.relocated
        believed = self._tracker.plausible_velocities(joints.velocity)
        return self._sync.add_joints(joints.stamp, state.positions, believed, None, relocated=state.relocated)

    def finish(self) -> None:
        """Count joint states that never became complete."""
        if not self._joints.complete:
            missing = self._joints.missing
            lacks = f"none has {', '.join(missing)}" if missing else "no joint of the profile is in any"
            self._drop(
                "incomplete joint states", f"{', '.join(self._parts)}: {lacks}; check names in the profile"
            )

    def _picture(self, topic: str, message: Any, camera: CameraProfile) -> Pixels:
        """RGB in the picture size of the VLA; a raw picture is decoded by the encoding in its message."""
        if camera.is_compressed:
            return read_camera(message, camera, self._size)
        if message.encoding != camera.encoding:
            self.encodings[topic] = message.encoding
        return resize(read_picture(message, message.encoding), *self._size)

    def _joint_state(self, index: int, stamp: int, message: Any) -> JointSample | None:
        """Joint state of the arm when all joints have arrived, in one or several messages or from several drivers."""
        positions, velocities = np.array(message.position), np.array(message.velocity)
        state = self._readers[index].read(0, stamp, message.name, positions, velocities)
        # Only joints of this driver, whatever other names its messages contain.
        own = [place for place, name in enumerate(state.names) if name in self._own[index]] if state else []
        if state is None or not own:
            return None
        names = [state.names[place] for place in own]
        return self._joints.add(state.stamp, names, state.positions[own], state.velocities[own])


class RecordedCommands:
    """RecordedCommands to a robot's drivers, as they were recorded.

    Args:
        profile: the robot.
        namespace: its namespace.
        stamps: of the bag.
    """

    def __init__(self, profile: RobotProfile, namespace: str, stamps: Stamps) -> None:
        self._profile, self._period, self._stamps = profile, 1.0 / profile.control_hz, stamps
        self._continuous = profile.continuous_names
        self._parts = {absolute(part.command.topic, namespace): i for i, part in enumerate(profile.drivers)}
        self.topics = command_topics(profile, namespace)

    def take(self, recorded: BagMessage, position: Array) -> tuple[int, int, Array]:
        """Index of the driver, stamp (0 for none), and joint targets (K, J) rad, one row per control period.

        Args:
            recorded: the message.
            position: (A,) rad, where the arm was measured before.

        Raises:
            ValueError: targets of some joints of the driver are missing.
        """
        message = read(recorded)
        index = self._parts[recorded.topic]
        part = self._profile.drivers[index]
        measured = dict(zip(self._profile.joints, position.tolist(), strict=True))
        names, targets = read_driver_course(part, message, self._period, measured, self._continuous)
        missing = [joint for joint in part.joints if joint not in names]
        if missing:
            raise CommandError(f"it has no target for {', '.join(missing)}")
        stamp = command_stamp(message)
        # Many commands have none on purpose: they hold from when they come.
        if stamp > 0:
            self._stamps.of(recorded.topic, recorded.time, stamp)
        return index, stamp, targets[:, [names.index(joint) for joint in part.joints]]


def readable(bag: Bag, topics: Mapping[str, str]) -> Iterator[Any]:
    """Deserialised messages of some topics, without malformed ones."""
    for recorded in bag.messages(topics):
        try:
            yield read(recorded)
        except ValueError:
            continue
