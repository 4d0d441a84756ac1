"""Commands to and joint states from robots of every profile, over a real graph."""

from __future__ import annotations

import importlib.util
from typing import Any

import numpy as np
import pytest

from rlt_ros.middleware import Node
from rlt_ros.middleware.choice import IMPLEMENTATION
from rlt_ros.middleware.messages import Header, JointState, String, Time, message_type
from rlt_ros.robots.commands import CommandError
from rlt_ros.robots.interface import COMMAND_TYPES
from rlt_ros.robots.profile import RobotProfile, load_profile
from rlt_ros.ros import qos
from rlt_ros.ros.diagnostics import ERROR, Diagnostics, Dropped
from rlt_ros.ros.drivers import (
    CommandPublishers,
    command_stamp,
    read_driver_command,
    subscribe_commands,
    subscribe_joints,
)
from rlt_ros.ros.topics import Topics

STAMP = 3_000_000_000

INTERBOTIX = pytest.mark.skipif(
    IMPLEMENTATION == "rclpy" and importlib.util.find_spec("interbotix_xs_msgs") is None,
    reason="interbotix_xs_msgs is not installed",
)


class Robot:
    """Node side and driver side of one robot."""

    def __init__(self, graph: Any, profile: RobotProfile, *, stamped: bool = False) -> None:
        self.graph, self.profile = graph, profile
        self.node: Node = graph.node("commands")
        diagnostics = Diagnostics(self.node)
        self.dropped = Dropped(diagnostics)
        self.topics = Topics(self.node, diagnostics)
        self.commands = CommandPublishers(self.node, self.topics, profile, stamped=stamped)
        drivers = Topics(other := graph.node("drivers"), Diagnostics(other))
        self.drivers = other
        self.heard: list[list[Any]] = [[] for _ in profile.drivers]
        for part, heard in zip(profile.drivers, self.heard, strict=True):
            subscribe_commands(drivers, part, heard.append)

    def connect(self) -> None:
        self.commands.open()
        self.graph.until(
            lambda: all(publisher.get_subscription_count() for publisher in self.commands._publishers),
            what="drivers see the commands",
        )


@pytest.mark.parametrize(
    "robot",
    [
        "agibot_g1_geniesim",
        "agibot_g1_real",
        "ur5e",
        "so101",
        pytest.param("viperx_300s", marks=INTERBOTIX),
        pytest.param("aloha", marks=INTERBOTIX),
    ],
)
def test_targets_reach_the_drivers_and_mean_the_same_there(graph: Any, robot: str) -> None:
    profile = load_profile(robot)
    here = Robot(graph, profile)
    held = {joint: 0.25 for part in profile.drivers for joint in part.held}
    here.connect()
    target = np.linspace(-0.5, 0.5, profile.dim)
    here.commands.publish(STAMP, target, None, np.array(list(held.values())))
    graph.until(lambda: all(here.heard), what="a command at every driver")
    targets: dict[str, float] = {}
    for part, (message,) in zip(profile.drivers, here.heard, strict=True):
        names, positions = read_driver_command(part, message)
        targets.update(zip(names, positions, strict=True))
    assert {joint: targets.pop(joint) for joint in held} == held
    np.testing.assert_allclose(
        [targets[joint] for joint in profile.joints], target, atol=1e-7
    )  # float32 of Interbotix
    assert len(targets) == profile.dim


@pytest.mark.parametrize(("stamped", "stamp"), [(False, 0), (True, STAMP)])
def test_a_trajectory_starts_at_once_unless_it_answers_a_simulator(
    graph: Any, stamped: bool, stamp: int
) -> None:
    here = Robot(graph, load_profile("ur5e"), stamped=stamped)
    here.connect()
    here.commands.publish(STAMP, np.zeros(6), None, np.zeros(0))
    graph.until(lambda: here.heard[0], what="a trajectory")
    (message,) = here.heard[0]
    assert command_stamp(message) == stamp
    assert [point.time_from_start.nanosec for point in message.points] == [20_000_000, 40_000_000]
    assert not np.any(message.points[-1].velocities)


def test_nothing_is_sent_while_it_is_unknown_where_the_other_arm_stands(graph: Any) -> None:
    here = Robot(graph, load_profile("agibot_g1_real"))
    here.connect()
    with pytest.raises(CommandError, match="idx21_arm_l_joint1"):
        here.commands.publish(STAMP, np.zeros(7), None, np.full(7, np.nan))
    here.commands.publish(STAMP, np.ones(7), None, np.full(7, 0.1))
    graph.until(lambda: here.heard[0], what="the first command")
    (message,) = here.heard[0]  # none before it
    np.testing.assert_allclose(message.position, [0.1] * 7 + [1.0] * 7)


@INTERBOTIX
def test_the_joint_states_of_two_drivers_are_heard_as_one(graph: Any) -> None:
    here = Robot(graph, load_profile("aloha"))
    heard: list[Any] = []
    subscribe_joints(here.topics, here.profile, heard.append, qos.SENSOR, here.dropped)
    publishers = [
        here.drivers.create_publisher(JointState, part.joint_states, qos.SENSOR_RELIABLE)
        for part in here.profile.drivers
    ]
    graph.until(lambda: all(one.get_subscription_count() for one in publishers), what="the drivers are heard")
    names = ["waist", "shoulder", "elbow", "forearm_roll", "wrist_angle", "wrist_rotate", "gripper"]
    for number, publisher in enumerate(publishers):
        publisher.publish(
            JointState(
                header=Header(stamp=Time(sec=1 + number)),
                name=names,
                position=[float(number)] * 7,
                velocity=[0.5] * 7,
            )
        )
    graph.until(lambda: heard, what="one joint state")
    (joints,) = heard
    assert tuple(joints.name) == (*here.profile.joints, "follower_right/gripper")
    assert (list(joints.position), list(joints.velocity)) == ([0.0] * 6 + [1.0] * 7, [0.5] * 13)
    assert joints.header.stamp.sec == 1


def test_a_joint_state_that_is_not_the_profiles_is_dropped_and_counted(graph: Any) -> None:
    here = Robot(graph, load_profile("agibot_g1_real"))
    heard: list[Any] = []
    subscribe_joints(here.topics, here.profile, heard.append, qos.SENSOR, here.dropped)
    publisher = here.drivers.create_publisher(JointState, "/hal/arm_joint_state", qos.SENSOR_RELIABLE)
    graph.until(lambda: publisher.get_subscription_count(), what="the driver is heard")
    publisher.publish(JointState(position=[0.0] * 13))
    publisher.publish(JointState(position=[0.5] * 14, velocity=[0.0] * 14))
    graph.until(lambda: heard, what="the good one")
    (joints,) = heard
    assert joints.name[0] == "idx21_arm_l_joint1"
    assert here.dropped["unusable joint state"] == 1


@INTERBOTIX
def test_a_gripper_with_a_topic_hears_changes_only(graph: Any) -> None:
    here = Robot(graph, load_profile("viperx_300s"))
    heard: list[Any] = []
    kind = message_type("interbotix_xs_msgs/msg/JointSingleCommand")
    here.drivers.create_subscription(kind, "vx300s/commands/joint_single", heard.append, qos.COMMAND)
    here.connect()
    gripper = here.commands._gripper
    assert gripper is not None
    graph.until(lambda: gripper._publisher.get_subscription_count(), what="the gripper is there")
    sentinel: list[Any] = []
    here.drivers.create_subscription(String, "sentinel", sentinel.append, 10)
    last = here.node.create_publisher(String, "sentinel", 10)
    graph.until(lambda: last.get_subscription_count(), what="the sentinel is there")
    for value in (None, 1.491, 1.491, 1.4905):
        here.commands.publish(STAMP, np.zeros(6), value, np.zeros(0))
    last.publish(String(data="done"))
    graph.until(lambda: heard and sentinel, what="a command and the sentinel")
    assert [(message.name, round(message.cmd, 4)) for message in heard] == [("gripper", 1.491)]


@pytest.mark.skipif(IMPLEMENTATION == "rclpy", reason="with ROS 2 the action is there")
def test_without_ros_a_gripper_action_is_an_error_in_the_diagnostics_and_the_arm_works(graph: Any) -> None:
    here = Robot(graph, load_profile("franka_fr3"))
    here.connect()
    here.commands.publish(STAMP, np.zeros(7), 0.02, np.zeros(0))
    graph.until(lambda: here.heard[0], what="a command of the arm")
    level, text, _ = here.commands.report_gripper()
    assert level == ERROR
    assert "franka_gripper/gripper_action" in text
    assert "source it" in text


@INTERBOTIX
def test_every_command_type_has_messages_here() -> None:
    assert all(message_type(name) for name in COMMAND_TYPES.values())
