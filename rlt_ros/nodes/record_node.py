"""Records what the graph says into a rosbag2 of MCAP files, which ROS 2, Foxglove and PlotJuggler open.

Bytes are written as they come, with the qualities of service that they were offered with, so that what is latched is
latched again when the bag is played. A run that goes on gets a new bag beside the old one. SIGINT and SIGTERM finish
the bag; one whose recorder was killed lacks its last megabyte and its summary: `rlt-ros bag` reads it all the same,
and `ros2 bag reindex` makes a new summary.
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
from rlt_ros.nodes import qos
from rlt_ros.nodes.cameras import camera_type
from rlt_ros.nodes.diagnostics import OK, Diagnostics, Report
from rlt_ros.nodes.drivers import command_type
from rlt_ros.nodes.parameters import declare
from rlt_ros.nodes.run import run_node
from rlt_ros.nodes.settings import RecordConfig, Setup
from rlt_ros.nodes.topics import Topics
from rlt_ros.rlt.run_folder import unused
from rlt_ros.robots.profile import RobotProfile, load_profile

_DEEP = 1000  # messages that may wait: who records may be late, but leaves nothing out
_FOR_EVER = QosTime(sec=9223372036, nsec=854775807)  # as rosbag2 writes it


class RecordNode(Node):
    """Writes messages into a bag."""

    def __init__(self) -> None:
        super().__init__("record_node")
        setup, config = declare(self, "", Setup), declare(self, "", RecordConfig)
        path = unused(Path(config.out) / "bag")
        # 9 is the form of Iron and later.
        self._bag = Writer(path, version=9, storage_plugin=StoragePlugin.MCAP)
        self._bag.open()
        self._written: Counter[str] = Counter()  # topic → messages
        self._bytes = 0
        diagnostics = Diagnostics(self)
        diagnostics.add("bag", self._report)
        topics = Topics(self, diagnostics)
        for kind, topic, profile in _wanted(load_profile(setup.robot), config):
            connection = self._bag.add_connection(
                topic, type_name(kind), typestore=type_store(), offered_qos_profiles=[_offered(profile)]
            )
            quality = QoSProfile(
                depth=max(_DEEP, profile.depth),
                reliability=profile.reliability,
                durability=profile.durability,
            )
            topics.subscription(kind, topic, partial(self._write, connection), quality, raw=True)
        self.get_logger().info(f"records into {path}")

    def _write(self, connection: Any, data: bytes) -> None:
        self._bag.write(connection, time.time_ns(), data)
        self._written[connection.topic] += 1
        self._bytes += len(data)

    def _report(self) -> Report:
        messages = self._written.total() - self._written["/diagnostics"]
        return OK, "", {"messages": messages, "megabytes": 1e-6 * self._bytes}

    def destroy_node(self) -> None:
        """Leave the graph, then finish the bag."""
        super().destroy_node()
        self._bag.close()


def _wanted(robot: RobotProfile, config: RecordConfig) -> Iterator[tuple[Any, str, QoSProfile]]:
    """(type, topic, quality of service that it is offered with) of what is recorded."""
    sensors = qos.sensor(reliable=robot.reliable_sensors)
    of_a_robot = [
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
        of_a_robot += [(camera_type(camera), camera.topic, sensors) for camera in robot.cameras.values()]
        of_a_robot.append((Observation, "rlt/observation", qos.OBSERVATION))
    for namespace in config.robots:
        prefix = f"/{namespace}/" if namespace else "/"
        for kind, topic, profile in of_a_robot:
            yield kind, topic if topic.startswith("/") else prefix + topic, profile
        yield Clock, f"{prefix}clock" if len(config.robots) > 1 else "/clock", qos.SENSOR
    yield PolicyUpdate, "/rlt/policy_update", qos.POLICY_UPDATE
    yield ReplayStatus, "/rlt/replay_status", qos.REPLAY_STATUS
    yield LearnerStatus, "/rlt/learner_status", qos.LEARNER_STATUS
    yield DiagnosticArray, "/diagnostics", qos.DIAGNOSTICS


def _offered(profile: QoSProfile) -> Qos:
    """A quality of service as a bag names it."""
    return Qos(
        history=QosHistory.KEEP_LAST,
        depth=profile.depth,
        reliability=QosReliability[profile.reliability.name],
        durability=QosDurability[profile.durability.name],
        deadline=_FOR_EVER,
        lifespan=_FOR_EVER,
        liveliness=QosLiveliness.AUTOMATIC,
        liveliness_lease_duration=_FOR_EVER,
        avoid_ros_namespace_conventions=False,
    )


def main() -> int:
    """Run the node."""
    return run_node(RecordNode)


if __name__ == "__main__":
    sys.exit(main())
