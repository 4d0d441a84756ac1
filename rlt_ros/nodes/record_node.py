"""Recorder of the graph: a rosbag2 of MCAP files, for ROS 2, Foxglove and PlotJuggler.

Serialised messages are written unchanged, with the offered quality of service, so that playback latches latched topics
again. A resumed run gets a new bag next to the old one. SIGINT and SIGTERM finish the bag. After a kill the bag lacks
its last megabyte and its summary: `rlt-ros bag` reads it without, and `ros2 bag reindex` creates a new summary.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from rosbags.interfaces import Qos, QosDurability, QosHistory, QosLiveliness, QosReliability, QosTime
from rosbags.rosbag2 import StoragePlugin, Writer

from rlt_ros.learning.run_folder import unused
from rlt_ros.middleware import Node, QoSProfile
from rlt_ros.middleware.dds.definitions import type_store
from rlt_ros.middleware.messages import (
    ActionChunk,
    Bool,
    ChunkRequest,
    Clock,
    DiagnosticArray,
    EpisodeEvent,
    EpisodeState,
    ExecutedStep,
    Intervention,
    JointState,
    LearnerStatus,
    Observation,
    PolicyUpdate,
    ReplayStatus,
    RLState,
    type_name,
)
from rlt_ros.robots.profile import RobotProfile, load_profile
from rlt_ros.ros import qos
from rlt_ros.ros.cameras import camera_type
from rlt_ros.ros.diagnostics import OK, Diagnostics, Report
from rlt_ros.ros.drivers import command_type
from rlt_ros.ros.parameters import declare
from rlt_ros.ros.run import run_node
from rlt_ros.ros.settings import RecordConfig, Setup
from rlt_ros.ros.topics import Topics

_MIN_DEPTH = 1000
"""Queue depth, so that a late recorder loses no message."""
_INFINITE = QosTime(sec=9223372036, nsec=854775807)
"""Infinite duration in the notation of rosbag2."""


class RecordNode(Node):
    """Subscriptions of a graph, written into a bag."""

    def __init__(self) -> None:
        super().__init__("record_node")
        setup, config = declare(self, "", Setup), declare(self, "", RecordConfig)
        path = unused(Path(config.out) / "bag")
        # Version 9 is the format of Iron and later.
        self._bag = Writer(path, version=9, storage_plugin=StoragePlugin.MCAP)
        self._bag.open()
        self._written: Counter[str] = Counter()  # topic → messages
        self._bytes = 0
        diagnostics = Diagnostics(self)
        diagnostics.add("bag", self._report)
        topics = Topics(self, diagnostics)
        for kind, topic, profile in _recorded_topics(load_profile(setup.robot), config):
            connection = self._bag.add_connection(
                topic, type_name(kind), typestore=type_store(), offered_qos_profiles=[_offered(profile)]
            )
            quality = QoSProfile(
                depth=max(_MIN_DEPTH, profile.depth),
                reliability=profile.reliability,
                durability=profile.durability,
            )
            topics.subscription(kind, topic, partial(self._write, connection), quality, raw=True)
        self.get_logger().info(f"recording to {path}")

    def _write(self, connection: Any, data: bytes) -> None:
        self._bag.write(connection, time.time_ns(), data)
        self._written[connection.topic] += 1
        self._bytes += len(data)

    def _report(self) -> Report:
        messages = self._written.total() - self._written["/diagnostics"]
        return OK, "", {"messages": messages, "megabytes": 1e-6 * self._bytes}

    def destroy_node(self) -> None:
        """Destroy the node, then finish the bag."""
        super().destroy_node()
        self._bag.close()


def _recorded_topics(robot: RobotProfile, config: RecordConfig) -> Iterator[tuple[Any, str, QoSProfile]]:
    """(type, topic, offered quality of service) of the recorded topics."""
    sensors = qos.sensor(reliable=robot.reliable_sensors)
    per_robot = [
        *((JointState, part.joint_states, sensors) for part in robot.drivers),
        *((command_type(part), part.command.topic, qos.COMMAND) for part in robot.drivers),
        (RLState, "rlt/rl_state", qos.RL_STATE),
        (ChunkRequest, "rlt/chunk_request", qos.CHUNK_REQUEST),
        (ActionChunk, "rlt/action_chunk", qos.ACTION_CHUNK),
        (ExecutedStep, "rlt/executed_step", qos.EXECUTED_STEP),
        (Intervention, "rlt/intervention", qos.INTERVENTION),
        (EpisodeEvent, "rlt/episode_event", qos.EPISODE_EVENT),
        (EpisodeState, "rlt/episode_state", qos.EPISODE_STATE),
        (Bool, "rlt/e_stop", qos.E_STOP),
        (Bool, "rlt/hardware_e_stop", qos.E_STOP),
    ]
    if config.pictures:
        per_robot += [(camera_type(camera), camera.topic, sensors) for camera in robot.cameras.values()]
        per_robot.append((Observation, "rlt/observation", qos.OBSERVATION))
    for namespace in config.robots:
        prefix = f"/{namespace}/" if namespace else "/"
        for kind, topic, profile in per_robot:
            yield kind, topic if topic.startswith("/") else prefix + topic, profile
        yield Clock, f"{prefix}clock" if len(config.robots) > 1 else "/clock", qos.SENSOR
    yield PolicyUpdate, "/rlt/policy_update", qos.POLICY_UPDATE
    yield ReplayStatus, "/rlt/replay_status", qos.REPLAY_STATUS
    yield LearnerStatus, "/rlt/learner_status", qos.LEARNER_STATUS
    yield DiagnosticArray, "/diagnostics", qos.DIAGNOSTICS


def _offered(profile: QoSProfile) -> Qos:
    """Quality of service in the format of a bag."""
    return Qos(
        history=QosHistory.KEEP_LAST,
        depth=profile.depth,
        reliability=QosReliability[profile.reliability.name],
        durability=QosDurability[profile.durability.name],
        deadline=_INFINITE,
        lifespan=_INFINITE,
        liveliness=QosLiveliness.AUTOMATIC,
        liveliness_lease_duration=_INFINITE,
        avoid_ros_namespace_conventions=False,
    )


def main() -> int:
    """Run the node."""
    return run_node(RecordNode)


if __name__ == "__main__":
    sys.exit(main())
