"""Views of the graph: paths of chunks, Q, latency, an annotated picture, robot description and frames.

Views are computed on demand: without a subscriber to markers, picture or frames this node subscribes to no joint states
and no pictures, so its cost for a training run is negligible.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from rlt_ros.middleware import Clock, ClockType, Node, Publisher, Subscription, Time, arrays
from rlt_ros.middleware.messages import (
    ActionChunk,
    EpisodeState,
    ExecutedStep,
    Float32,
    Header,
    Image,
    LearnerStatus,
    MarkerArray,
    Quaternion,
    String,
    TFMessage,
    Transform,
    TransformStamped,
    Vector3,
)
from rlt_ros.perception.annotation import annotate
from rlt_ros.replay.stream import Phase
from rlt_ros.rlt.transition import Source
from rlt_ros.robots.body import Body, LinkPose
from rlt_ros.robots.profile import load_profile
from rlt_ros.ros import qos
from rlt_ros.ros.cameras import camera_type, read_camera
from rlt_ros.ros.conversions import read_chunk, read_episode, read_step
from rlt_ros.ros.diagnostics import Diagnostics, Dropped
from rlt_ros.ros.drivers import subscribe_joints
from rlt_ros.ros.markers import COLOURS, ChunkMarkers
from rlt_ros.ros.parameters import declare
from rlt_ros.ros.run import run_node
from rlt_ros.ros.settings import MonitorConfig, Setup
from rlt_ros.ros.topics import Topics


class MonitorNode(Node):
    """Publishers of the views of one robot."""

    def __init__(self) -> None:
        super().__init__("monitor_node")
        self._profile = load_profile(declare(self, "", Setup).robot)
        self._config = declare(self, "monitor", MonitorConfig)
        diagnostics = Diagnostics(self)
        self._dropped = Dropped(diagnostics)
        self._topics = Topics(self, diagnostics)
        self._source, self._episode, self._phase, self._q = Source.HOLD, 0, Phase.IDLE, float("nan")
        self._joints: Any = None  # newest JointState with unpublished frames
        self._picture: Any = None  # newest unpublished message of the first camera
        self._views: list[Subscription] = []

        self._camera = next(iter(self._profile.cameras.values()))
        prefix = self.get_namespace().strip("/")
        self._prefix = f"{prefix}/" if prefix else ""
        arm = self._profile.kinematics()
        self._markers = ChunkMarkers(
            lambda q: np.asarray(arm.forward(q)[:3, 3]),
            frame_id=self._prefix + self._profile.base_frame,
            trail=self._config.trail,
        )
        self._body = Body(self._profile.urdf_path, self._profile.posture or {})

        topics = self._topics
        self._marker_publisher = topics.publisher(MarkerArray, "rlt/markers", qos.VIEW)
        self._image_publisher = topics.publisher(Image, "rlt/annotated_image", qos.VIEW)
        self._tf_publisher = topics.publisher(TFMessage, "/tf", qos.TF)
        self._q_publisher = topics.publisher(Float32, "rlt/q", qos.VIEW)
        self._latency_publisher = topics.publisher(Float32, "rlt/latency", qos.VIEW)
        self._static_publisher = topics.publisher(TFMessage, "/tf_static", qos.TF_STATIC)
        self._description_publisher = topics.publisher(String, "robot_description", qos.ROBOT_DESCRIPTION)
        self._publish_static()

        topics.subscription(ActionChunk, "rlt/action_chunk", self._checked(self._on_chunk), qos.ACTION_CHUNK)
        topics.subscription(
            LearnerStatus, "rlt/learner_status", self._checked(self._on_learner), qos.LEARNER_STATUS
        )
        topics.subscription(
            EpisodeState, "rlt/episode_state", self._checked(self._on_episode), qos.EPISODE_STATE
        )
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.create_timer(1.0, self._update_subscriptions, clock=steady)
        self.create_timer(1.0 / self._config.rate, self._publish_views, clock=steady)

    def _publish_static(self) -> None:
        self._description_publisher.publish(String(data=self._profile.urdf_path.read_text(encoding="utf-8")))
        # Time 0: static frames are valid at any time.
        self._static_publisher.publish(self._transforms(self._body.fixed(), Time().to_msg()))

    def _update_subscriptions(self) -> None:
        """Subscribe to the input of the views while they have subscribers."""
        views: tuple[Publisher, ...] = (self._marker_publisher, self._image_publisher, self._tf_publisher)
        watched = any(view.get_subscription_count() for view in views)
        if watched and not self._views:
            self._views = self._subscribe_to_views()
        elif not watched:
            for subscription in self._views:
                self.destroy_subscription(subscription)
            self._views = []

    def _subscribe_to_views(self) -> list[Subscription]:
        topics = self._topics
        return [
            *subscribe_joints(topics, self._profile, self._on_joints, qos.SENSOR, self._dropped),
            topics.subscription(camera_type(self._camera), self._camera.topic, self._on_picture, qos.SENSOR),
            topics.subscription(
                ExecutedStep, "rlt/executed_step", self._checked(self._on_step), qos.EXECUTED_STEP
            ),
        ]

    def _checked(self, handle: Callable[[Any], None]) -> Callable[[Any], None]:
        """Wrap ``handle``: malformed messages are dropped and counted."""

        def callback(message: Any) -> None:
            try:
                handle(message)
            except ValueError as error:
                self._dropped.add(f"malformed {type(message).__name__}", str(error))

        return callback

    def _on_chunk(self, message: Any) -> None:
        dim = self._profile.dim
        chunk = read_chunk(message, len(message.action) // dim, dim)
        self._latency_publisher.publish(Float32(data=chunk.latency * 1e-9))
        if self._marker_publisher.get_subscription_count():
            self._marker_publisher.publish(self._markers.chunk(chunk, message.header.stamp))

    def _on_learner(self, message: Any) -> None:
        metrics = dict(zip(message.metrics, message.values, strict=True))
        if "q" in metrics:
            self._q = float(metrics["q"])
            self._q_publisher.publish(Float32(data=self._q))

    def _on_episode(self, message: Any) -> None:
        state = read_episode(message)
        if state.episode != self._episode:
            self._markers.clear()
        self._episode, self._phase = state.episode, state.phase

    def _on_step(self, message: Any) -> None:
        step = read_step(message, self._profile.dim)
        self._source = step.source
        self._markers.executed(np.asarray(step.command, dtype=np.float64), step.source)

    def _on_joints(self, message: Any) -> None:
        self._joints = message

    def _on_picture(self, message: Any) -> None:
        self._picture = message

    def _publish_views(self) -> None:
        """Publish views of the newest joint state and picture."""
        if self._joints is not None:
            joints, self._joints = self._joints, None
            self._checked(self._publish_robot)(joints)
        if self._picture is not None:
            picture, self._picture = self._picture, None
            self._checked(self._publish_picture)(picture)

    def _publish_robot(self, message: Any) -> None:
        if len(message.name) != len(message.position):
            raise ValueError(f"{len(message.name)} joint names, but {len(message.position)} positions")
        positions = dict(zip(message.name, message.position, strict=True))
        self._tf_publisher.publish(self._transforms(self._body.moving(positions), message.header.stamp))
        self._marker_publisher.publish(self._markers.trail(message.header.stamp))

    def _publish_picture(self, message: Any) -> None:
        if not self._image_publisher.get_subscription_count():
            return
        q = "" if np.isnan(self._q) else f" Q {self._q:.2f}"
        text = f"{self._episode} {self._phase.name} {self._source.name}{q}"
        picture = annotate(read_camera(message, self._camera, None), text, COLOURS[self._source])
        self._image_publisher.publish(
            Image(
                header=message.header,
                height=picture.shape[0],
                width=picture.shape[1],
                encoding="rgb8",
                step=3 * picture.shape[1],
                data=arrays.pack(picture),
            )
        )

    def _transforms(self, poses: list[LinkPose], stamp: Any) -> Any:
        return TFMessage(transforms=[self._transform(pose, stamp) for pose in poses])

    def _transform(self, pose: LinkPose, stamp: Any) -> Any:
        x, y, z = (float(value) for value in pose.translation)
        qx, qy, qz, qw = (float(value) for value in pose.quaternion)
        return TransformStamped(
            header=Header(stamp=stamp, frame_id=self._prefix + pose.parent),
            child_frame_id=self._prefix + pose.child,
            transform=Transform(
                translation=Vector3(x=x, y=y, z=z), rotation=Quaternion(x=qx, y=qy, z=qz, w=qw)
            ),
        )


def main() -> int:
    """Run the node."""
    return run_node(MonitorNode)


if __name__ == "__main__":
    raise SystemExit(main())
