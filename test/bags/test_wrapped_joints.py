"""Bags of drivers that wrap their joints, and that are wrong now and then."""

from __future__ import annotations

from array import array
from collections import Counter
from typing import Any

import numpy as np
from bags import _cdr

from rlt_ros.bags.bag_files import BagMessage
from rlt_ros.bags.stamps import Stamps
from rlt_ros.middleware.messages import JointState, message_type
from rlt_ros.perception.synchroniser import SyncConfig
from rlt_ros.robots.profile import load_profile
from rlt_ros.ros.bag_messages import RecordedCommands, RecordedSensors
from rlt_ros.ros.conversions import to_duration, to_header

KINOVA = load_profile("kinova_gen3")
HOME = np.array(KINOVA.home)
MS = 1_000_000


def wrap(position: Any) -> Any:
    return (np.asarray(position) + np.pi) % (2 * np.pi) - np.pi


def state(step: int, position: Any) -> BagMessage:
    message = JointState(
        header=to_header(step * 20 * MS),
        name=list(KINOVA.joints),
        position=array("d", [float(value) for value in position]),
    )
    return BagMessage("/joint_states", "sensor_msgs/msg/JointState", step * 20 * MS, _cdr(message))


def reader(dropped: Counter[str], *, jumps: bool = True) -> RecordedSensors:
    return RecordedSensors(
        KINOVA, "", (8, 8), SyncConfig(), Stamps(), lambda kind, _: dropped.update([kind]), jumps=jumps
    )


def test_positions_are_continuous_and_wrong_states_are_counted() -> None:
    dropped: Counter[str] = Counter()
    sensors = reader(dropped)
    true = HOME.copy()
    for step in range(1, 100):
        if step % 7 == 0:
            sensors.take(state(step, np.zeros(7)))
            continue
        sensors.take(state(step, wrap(true)))
        assert sensors.position is not None
        np.testing.assert_allclose(sensors.position[1], true, atol=1e-9)
        true[[0, 2, 4, 6]] += 0.05
    assert wrap(true)[6] != true[6]
    assert dropped == {"joint state jumped": 14}


def test_a_simulator_is_believed() -> None:
    dropped: Counter[str] = Counter()
    sensors = reader(dropped, jumps=False)
    for step, position in ((1, HOME), (2, HOME + np.eye(7)[3])):
        sensors.take(state(step, position))
        assert sensors.position is not None
    assert not dropped


def test_commands_go_on_from_where_the_arm_is() -> None:
    point = message_type("trajectory_msgs/msg/JointTrajectoryPoint")
    at = HOME.copy()
    at[6] = 3.13
    points = [(0.02, 3.14), (0.04, 3.15), (0.2, 3.3)]
    message = message_type("trajectory_msgs/msg/JointTrajectory")(
        joint_names=list(KINOVA.joints),
        points=[
            point(
                positions=array("d", wrap([*HOME[:6], last]).tolist()),
                time_from_start=to_duration(round(seconds * 1e9)),
            )
            for seconds, last in points
        ],
    )
    topic = "/joint_trajectory_controller/joint_trajectory"
    recorded = BagMessage(topic, "trajectory_msgs/msg/JointTrajectory", 0, _cdr(message))
    _, _, targets = RecordedCommands(KINOVA, "", Stamps()).take(recorded, at)
    np.testing.assert_allclose(targets[:, :6], np.tile(HOME[:6], (len(targets), 1)), atol=1e-9)
    np.testing.assert_allclose(targets[:3, 6], [3.14, 3.15, 3.15 + 0.15 / 8], atol=1e-9)
    assert targets[-1, 6] == 3.3
