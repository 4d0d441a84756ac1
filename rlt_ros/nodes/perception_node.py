"""Synchroniser of cameras and joint states: one `Observation` for each time with complete input."""

from __future__ import annotations

import sys
from functools import partial
from typing import Any

from rlt_ros.middleware import Duration, JumpThreshold, Node
from rlt_ros.middleware.messages import EpisodeState, Observation
from rlt_ros.perception import Observation as TimedObservation
from rlt_ros.perception.pictures import PictureError
from rlt_ros.perception.synchroniser import SyncConfig, Synchroniser
from rlt_ros.robots.interface import CameraProfile
from rlt_ros.robots.profile import load_profile
from rlt_ros.ros import qos
from rlt_ros.ros.cameras import camera_type, read_camera
from rlt_ros.ros.conversions import to_ns, write_observation
from rlt_ros.ros.diagnostics import OK, STALE, Diagnostics, Dropped, Report
from rlt_ros.ros.joint_input import ArmState, JointInput
from rlt_ros.ros.parameters import declare
from rlt_ros.ros.realtime import enable_realtime
from rlt_ros.ros.run import run_node
from rlt_ros.ros.settings import PerceptionConfig, Setup
from rlt_ros.ros.topics import Topics


class PerceptionNode(Node):
    """Sensor messages in, observations out."""

    def __init__(self) -> None:
        super().__init__("perception_node")
        setup, config = declare(self, "", Setup), declare(self, "", PerceptionConfig)
        profile = load_profile(setup.robot)
        diagnostics = Diagnostics(self)
        self._dropped = Dropped(diagnostics)
        diagnostics.add("observations", self._report)
        self._sync = Synchroniser(declare(self, "", SyncConfig), list(profile.cameras), self._dropped.add)
        self._profile = profile
        self._size = (config.image_size[0], config.image_size[1]) if config.image_size else None
        # Of the running episode.
        self._number = 0
        self._reported = 0
        topics = Topics(self, diagnostics)
        self._out = topics.publisher(Observation, "rlt/observation", qos.OBSERVATION)
        sensors = qos.sensor(reliable=profile.reliable_sensors)
        topics.subscription(EpisodeState, "rlt/episode_state", self._on_episode, qos.EPISODE_STATE)
        self._joints = JointInput(
            self, topics, profile, sensors, self._dropped, self._on_joints, velocities=True
        )
        for name, camera in profile.cameras.items():
            take = partial(self._on_picture, name, camera)
            topics.subscription(camera_type(camera), camera.topic, take, sensors)
        back = JumpThreshold(min_forward=None, min_backward=Duration(nanoseconds=-1), on_clock_change=True)
        enable_realtime(self, config.realtime_priority)
        self._jumps = self.get_clock().create_jump_callback(back, post_callback=lambda _: self._reset())

    def _on_episode(self, message: Any) -> None:
        self._number = message.episode

    def _reset(self) -> None:
        self._sync.reset()
        self._joints.forget()

    def _on_joints(self, state: ArmState) -> None:
        stamp, positions, velocities = state.stamp, state.positions, state.velocities
        self._publish(
            self._sync.add_joints(stamp, positions, velocities, self._time(), relocated=state.relocated)
        )

    def _on_picture(self, name: str, camera: CameraProfile, message: Any) -> None:
        try:
            picture = read_camera(message, camera, self._size)
        except PictureError as error:
            self._dropped.add(f"unusable picture of {name}", str(error))
            return
        self._publish(self._sync.add_picture(name, to_ns(message.header.stamp), picture, self._time()))

    def _publish(self, observations: list[TimedObservation]) -> None:
        for observation in observations:
            self._out.publish(
                write_observation(
                    observation,
                    episode=self._number,
                    joints=self._profile.joints,
                    frame_id=self._profile.base_frame,
                )
            )

    def _time(self) -> int | None:
        """ROS time, ns; None before the first simulated time."""
        return int(self.get_clock().now().nanoseconds) or None

    def _report(self) -> Report:
        made, self._reported = self._sync.made - self._reported, self._sync.made
        values = {"made": self._sync.made, "clock_resets": self._sync.resets}
        if made:
            return OK, f"{made} since the last report", values
        return STALE, "none since the last report", values


def main() -> int:
    """Run the node."""
    return run_node(PerceptionNode)


if __name__ == "__main__":
    sys.exit(main())
