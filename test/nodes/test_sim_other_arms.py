"""Simulation of ros2_control arms with their own topics, types and pictures."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from rlt_ros.middleware.messages import EpisodeEvent, EpisodeState, Image, JointState
from rlt_ros.perception.joints import JointOrder
from rlt_ros.robots.profile import load_profile
from rlt_ros.ros import qos
from rlt_ros.ros.conversions import to_header, to_ns
from rlt_ros.ros.diagnostics import Diagnostics
from rlt_ros.ros.drivers import CommandPublishers
from rlt_ros.ros.topics import Topics


@pytest.mark.parametrize("robot", ["franka_fr3", "ur5e"])
def test_trajectories_move_the_arm_step_by_step(
    graph: Any, start_node: Callable[..., Any], robot: str
) -> None:
    profile, node = load_profile(robot), graph.node("others")
    topics = Topics(node, Diagnostics(node))
    joints: list[Any] = []
    events: list[Any] = []
    pictures: dict[str, list[Any]] = {name: [] for name in profile.cameras}
    node.create_subscription(JointState, profile.joint_states, joints.append, qos.SENSOR)
    node.create_subscription(EpisodeEvent, "rlt/episode_event", events.append, qos.EPISODE_EVENT)
    for name, camera in profile.cameras.items():
        node.create_subscription(Image, camera.topic, pictures[name].append, qos.SENSOR)
    states = node.create_publisher(EpisodeState, "rlt/episode_state", qos.EPISODE_STATE)
    commands = CommandPublishers(node, topics, profile, stamped=True)
    commands.open()
    start_node("sim_node", robot=robot, command_timeout=1000.0, spare_pictures=False)
    graph.until(lambda: node.count_subscribers(commands.topics[0]), what="the simulator listens")
    graph.until(states.get_subscription_count, what="the simulator hears of episodes")
    for phase in (EpisodeState.PHASE_RESETTING, EpisodeState.PHASE_APPROACH):
        states.publish(EpisodeState(header=to_header(0), episode=1, phase=phase, seed=3))
        graph.until(lambda: events, what="the reset is done")
    graph.until(lambda: joints, what="the first joint state")
    order = JointOrder(profile.joints)

    def measured() -> np.ndarray:
        return order.positions(joints[-1].name, joints[-1].position)

    first = to_ns(joints[0].header.stamp)
    target = measured()
    for _ in range(15):
        newest = joints[-1]
        target = target + 0.002
        commands.publish(to_ns(newest.header.stamp), target, None, np.zeros(0))
        graph.until(lambda newest=newest: joints[-1] is not newest, what="the next joint state")
    assert [to_ns(one.header.stamp) - first for one in joints] == [20_000_000 * i for i in range(16)]
    np.testing.assert_allclose(measured(), target, atol=0.01)
    graph.until(lambda: all(pictures.values()), what="a picture of every camera")
    assert {one[0].encoding for one in pictures.values()} == {"rgb8"}


def test_a_robot_that_it_cannot_stand_in_for_is_refused(start_node: Callable[..., Any]) -> None:
    node = start_node("sim_node", robot="xarm7")
    assert node.process.wait(60) != 0
    assert "no `simulation`" in node.log
