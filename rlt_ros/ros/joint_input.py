"""Trusted joint states of a robot: subscribed, read and tracked; rejected states are counted by kind."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rlt_ros.middleware import Node, QoSProfile
from rlt_ros.perception.joints import JointOrder, JointStateError
from rlt_ros.robots.joint_tracking import JointStateRejected, JointTracker
from rlt_ros.robots.profile import RobotProfile
from rlt_ros.robots.tracked_joints import TrackedJoints
from rlt_ros.ros.conversions import to_ns
from rlt_ros.ros.diagnostics import Dropped
from rlt_ros.ros.drivers import subscribe_joints
from rlt_ros.ros.topics import Topics

Array = NDArray[np.float64]

_PUBLISHERS_AGE = 0.1
"""s, lifetime of a list of publishers; a query for every wrong state would be too expensive."""


class ArmState(NamedTuple):
    """Trusted joint state of a robot.

    Attributes:
        stamp: ns; 0 from drivers without stamps.
        positions: (A,) rad, or (A + H,) with the joints that commands must hold.
        velocities: the same shape, rad/s; NaN if unknown or not read.
        relocated: the arm cannot have moved here from the previous state.
        message: original `sensor_msgs/JointState`, with the joint names of the robot.
    """

    stamp: int
    positions: Array
    velocities: Array
    relocated: bool
    message: Any


class JointInput:
    """Subscription to the joint states of a robot that passes on trusted ones.

    On simulated time jumps are accepted: the reset of a simulator moves the arm at once.

    Args:
        node: owner of the subscriptions.
        topics: factory of subscriptions.
        profile: robot profile.
        quality: quality of service.
        dropped: counter of rejected states.
        take: called with each trusted state.
        held: also read the joints that commands must hold.
        velocities: also read velocities; a message whose velocities are unusable is dropped.
        simulated: a simulator publishes the states, whatever clock this node has.
        commanding: returns True while a policy or a human commands the arm; a jump is then rejected.
        rejected: called for each rejected state, with the reason, its stamp in ns, and
            `JointStateRejected.moved`.
    """

    def __init__(
        self,
        node: Node,
        topics: Topics,
        profile: RobotProfile,
        quality: QoSProfile,
        dropped: Dropped,
        take: Callable[[ArmState], None],
        *,
        held: bool = False,
        velocities: bool = False,
        simulated: bool = False,
        commanding: Callable[[], bool] = lambda: False,
        rejected: Callable[[str, int, bool], None] = lambda *_: None,
    ) -> None:
        joints = profile.tracked_joints if held else profile.tracked_joints.first(profile.dim)
        self._node, self._dropped, self._take = node, dropped, take
        self._commanding, self._rejected, self._reads_velocities = commanding, rejected, velocities
        self._order = JointOrder(joints.names)
        simulated = simulated or bool(node.get_parameter("use_sim_time").value)
        self._tracker = JointTracker(joints, jumps=not simulated)
        self._topics = [node.resolve_topic_name(part.joint_states) for part in profile.drivers]
        self._publishers = (-_PUBLISHERS_AGE, "")
        subscribe_joints(topics, profile, self._on_message, quality, dropped)

    @property
    def joints(self) -> TrackedJoints:
        """Joints to read."""
        return self._tracker.joints

    def forget(self) -> None:
        """Reset the tracker after a time jump."""
        self._tracker.forget()

    def _on_message(self, message: Any) -> None:
        stamp = to_ns(message.header.stamp)
        try:
            raw = self._order.positions(message.name, message.position)
            velocities = self._velocities(message)
            state = self._tracker.update(stamp, raw, now=time.monotonic_ns(), commanding=self._commanding())
        except JointStateError as error:
            self._dropped.add("unusable joint state", str(error))
            return
        except JointStateRejected as error:
            detail = f"{error}{self._sources()}"
            self._dropped.add(error.kind, detail)
            self._rejected(detail, stamp, error.moved)
            return
        if state.relocated:
            self._node.get_logger().warning(
                "the arm is at a new position and stays there (driver restarted, or moved unobserved); accepted at "
                f"{np.round(state.positions, 3).tolist()} rad"
            )
        self._take(ArmState(stamp, state.positions, velocities, state.relocated, message))

    def _velocities(self, message: Any) -> Array:
        if not self._reads_velocities:
            return np.full(self.joints.dim, np.nan)
        return self._tracker.plausible_velocities(self._order.velocities(message.name, message.velocity))

    def _sources(self) -> str:
        """Text with the publishers of joint states, for topics with more than one."""
        queried, text = self._publishers
        now = time.monotonic()
        if now - queried >= _PUBLISHERS_AGE:
            text = "".join(self._several_publishers(topic) for topic in self._topics)
            self._publishers = now, text
        return text

    def _several_publishers(self, topic: str) -> str:
        infos = self._node.get_publishers_info_by_topic(topic)
        if len(infos) < 2:
            return ""
        names = sorted(f"{info.node_namespace.rstrip('/')}/{info.node_name}" for info in infos)
        return f"; {topic} is published by {', '.join(names)}"
