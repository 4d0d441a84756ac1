"""Sensors of a robot in, observations out, over real topics."""

from __future__ import annotations

from array import array
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rlt_ros.middleware.messages import (
    Clock,
    DiagnosticArray,
    EpisodeState,
    Image,
    JointState,
    Observation,
)
from rlt_ros.robots.profile import load_profile
from rlt_ros.ros import qos
from rlt_ros.ros.conversions import read_observation, to_header, to_time

PROFILE = load_profile("agibot_g1_geniesim")
MS = 1_000_000


class Robot:
    """Robot whose joint positions and pictures encode their stamp, and a subscriber of observations."""

    def __init__(self, graph: Any) -> None:
        self.graph, self.observations, self.reports = graph, [], {}
        node = graph.node("robot")
        node.create_subscription(Observation, "rlt/observation", self.observations.append, qos.OBSERVATION)
        node.create_subscription(DiagnosticArray, "/diagnostics", self._on_report, 10)
        self._joints = node.create_publisher(JointState, "joint_states", qos.SENSOR_RELIABLE)
        self._clock = node.create_publisher(Clock, "/clock", qos.CLOCK)
        self._episode = node.create_publisher(EpisodeState, "rlt/episode_state", qos.EPISODE_STATE)
        self._cameras = {
            name: node.create_publisher(Image, camera.topic, qos.SENSOR_RELIABLE)
            for name, camera in PROFILE.cameras.items()
        }
        self.node = node

    def _on_report(self, message: Any) -> None:
        for status in message.status:
            self.reports[status.name] = {value.key: value.value for value in status.values}

    def meet(self, *, clock: bool = False) -> None:
        """Wait until messages pass both ways."""
        out = [self._joints, self._episode, *self._cameras.values(), *([self._clock] if clock else [])]
        self.graph.until(lambda: all(p.get_subscription_count() for p in out), what="the node listens")
        self.graph.until(lambda: self.node.count_publishers("rlt/observation"), what="the node is there")

    def joints(self, ms: int, **changes: Any) -> None:
        """Joint states in another order, with a joint more."""
        names = ["finger", *reversed(PROFILE.joints)]
        fields = {
            "header": to_header(ms * MS),
            "name": names,
            "position": array("d", [ms % 1000 * 1e-3] * len(names)),
            "velocity": array("d", [1.0] * len(names)),
        }
        self._joints.publish(JointState(**{**fields, **changes}))

    def pictures(self, ms: int, *, size: int = 4, encoding: str = "rgba8", but: str = "") -> None:
        """Publish a picture of every camera."""
        for name, publisher in self._cameras.items():
            if name != but:
                data = bytes([ms % 256, 1, 2, 255] * (size * size))
                publisher.publish(
                    Image(
                        header=to_header(ms * MS),
                        height=size,
                        width=size,
                        encoding=encoding,
                        step=4 * size,
                        data=data,
                    )
                )

    def clock(self, ms: int) -> None:
        """Set simulated time."""
        self._clock.publish(Clock(clock=to_time(ms * MS)))

    def episode(self, number: int) -> None:
        """Publish a running episode."""
        self._episode.publish(EpisodeState(episode=number, phase=EpisodeState.PHASE_APPROACH))

    def counted(self, task: str, key: str) -> int:
        """Value in the diagnostics; 0 before the first."""
        return int(self.reports.get(f"/perception_node: {task}", {}).get(key, 0))


@pytest.fixture
def robot(graph: Any) -> Robot:
    return Robot(graph)


def test_observations_have_one_stamp_and_the_profiles_joints(
    robot: Robot, start_node: Callable[..., Any]
) -> None:
    start_node("perception_node", use_sim_time=True, image_size=[2, 3])
    robot.meet()
    robot.episode(12)
    # Not as long as the episode is unknown: its state and the joints come by different ways.
    for ms in range(20, 30_000, 20):
        robot.joints(ms)
        robot.pictures(ms)
        robot.graph.executor.spin_once(timeout_sec=0.02)
        if robot.observations and robot.observations[-1].episode == 12:
            break
    message = robot.observations[-1]
    assert message.header.frame_id == PROFILE.base_frame
    assert list(message.joints) == list(PROFILE.joints)
    seen = read_observation(message, PROFILE.dim)
    np.testing.assert_allclose(seen.position, seen.stamp * 1e-9)
    np.testing.assert_allclose(seen.velocity, 1.0)
    assert list(seen.images) == list(PROFILE.cameras)
    for picture in seen.images.values():
        assert picture.shape == (2, 3, 3)
        assert picture[0, 0].tolist() == [seen.stamp // MS % 256, 1, 2]


def test_what_is_dropped_is_counted_and_the_rest_goes_on(
    robot: Robot, start_node: Callable[..., Any]
) -> None:
    start_node("perception_node", use_sim_time=True)
    robot.meet()
    robot.joints(20, name=["elbow"], position=array("d", [0.0]), velocity=array("d", [0.0]))
    robot.joints(20, position=array("d", [float("nan")] * 8))
    robot.joints(20)
    robot.joints(20)
    robot.pictures(20, encoding="16UC1")
    robot.pictures(20, but="hand_left")
    robot.pictures(40)
    robot.joints(40)
    robot.graph.until(lambda: robot.observations)
    assert read_observation(robot.observations[0], 7).stamp == 40 * MS
    robot.graph.until(lambda: robot.counted("input", "incomplete observation"))
    assert {key: int(value) for key, value in robot.reports["/perception_node: input"].items()} == {
        "unusable joint state": 2,
        "duplicate joint state": 1,
        "unusable picture of head": 1,
        "unusable picture of hand_left": 1,
        "unusable picture of hand_right": 1,
        "incomplete observation": 1,
    }
    robot.graph.until(lambda: robot.counted("observations", "made") == 1)


def test_a_clock_that_jumps_back_starts_anew(robot: Robot, start_node: Callable[..., Any]) -> None:
    start_node("perception_node", use_sim_time=True)
    robot.meet(clock=True)
    robot.clock(500_000)
    robot.joints(500_000)
    robot.pictures(500_000)
    robot.graph.until(lambda: robot.observations)
    robot.clock(20)
    robot.graph.until(lambda: robot.counted("observations", "clock_resets"))
    robot.joints(20)
    robot.pictures(20)
    robot.graph.until(lambda: len(robot.observations) == 2)
    assert read_observation(robot.observations[1], 7).stamp == 20 * MS


def test_velocities_that_the_driver_does_not_say_are_derived(
    robot: Robot, start_node: Callable[..., Any]
) -> None:
    start_node("perception_node", use_sim_time=True)
    robot.meet(clock=True)
    joints = len(PROFILE.joints) + 1
    for start, velocity in ((500_000, []), (20, [float("nan")] * joints)):  # the clock steps back between
        robot.clock(start)
        robot.joints(start - 10, velocity=array("d", [1.0]))
        for ms in (start, start + 10, start + 20, start + 30):
            robot.joints(ms, velocity=array("d", velocity))
        for ms in (start, start + 10, start + 25):
            robot.pictures(ms)
        robot.graph.until(lambda: robot.observations, what="the one whose velocity is known")
        seen = read_observation(robot.observations.pop(), 7)
        assert seen.stamp == (start + 25) * MS
        np.testing.assert_allclose(seen.position, 0.025 if start > 20 else 0.045)
        np.testing.assert_allclose(seen.velocity, 1.0)
        assert robot.observations == []
    robot.graph.until(lambda: robot.counted("input", "incomplete observation") == 4)
    assert robot.counted("input", "unusable joint state") == 2
    assert robot.counted("observations", "clock_resets") >= 1


def test_a_wrong_setting_is_told(start_node: Callable[..., Any], tmp_path: Path) -> None:
    process = start_node("perception_node", policy="sometimes")
    assert process.process.wait(30) == 2
    assert "exact" in process.log
