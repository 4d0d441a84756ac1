"""Trusted joint states of a robot in the graph: subscribed, read, tracked; what is not believed is counted by kind."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rlt_ros.middleware import Node, QoSProfile
from rlt_ros.nodes.conversions import to_ns
from rlt_ros.nodes.diagnostics import Dropped
from rlt_ros.nodes.drivers import subscribe_joints
from rlt_ros.nodes.topics import Topics
from rlt_ros.perception.joints import JointOrder, JointStateError
from rlt_ros.robots.joint_tracking import JointStateRejected, JointTracker
from rlt_ros.robots.profile import RobotProfile
from rlt_ros.robots.tracked_joints import TrackedJoints

Array = NDArray[np.float64]

# s for which a list of publishers is used again; asking the middleware for every wrong state would cost too much.
_PUBLISHERS_AGE = 0.1


class ArmState(NamedTuple):
    """Trusted joint state of a robot.

    Attributes:
        stamp: ns; 0 from drivers that leave it empty.
        positions: (A,) rad, or (A + H,) with the joints that commands must hold.
        velocities: the same shape, rad/s; NaN where they are not known, or are not read.
        relocated: the arm cannot have moved here from the state before.
        message: `sensor_msgs/JointState` as it came, with the robot's own joint names.
    """

    stamp: int
    positions: Array
    velocities: Array
    relocated: bool
    message: Any


class JointInput:
    """Subscribes to the joint states of a robot and passes on those that can be believed.

    On simulated time jumps are believed: the resets of a simulator put the arm elsewhere at once.

    Args:
        node: subscribes.
        topics: makes the subscriptions.
        profile: the robot.
        quality: of service.
        dropped: counts what is not believed.
        take: called with each trusted state.
        held: also read the joints that commands must hold.
        velocities: also read velocities; a message whose velocities are unusable is dropped.
        simulated: a simulator publishes them, whatever clock this node has.
        commanding: whether a policy or a human commands the arm now; then a jump is not accepted.
        rejected: called for each state that cannot be believed, with the reason, its stamp in ns, and
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
        """Joints that are read."""
        return self._tracker.joints

    def forget(self) -> None:
        """Begin again with the next state: time jumped."""
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
                "the arm is elsewhere and stays there: its driver was restarted, or it was moved unseen; accepted at "
                f"{np.round(state.positions, 3).tolist()} rad"
            )
        self._take(ArmState(stamp, state.positions, velocities, state.relocated, message))

    def _velocities(self, message: Any) -> Array:
        if not self._reads_velocities:
            return np.full(self.joints.dim, np.nan)
        return self._tracker.plausible_velocities(self._order.velocities(message.name, message.velocity))

    def _sources(self) -> str:
        """Names of the nodes that publish the joint states, in words, where a topic has more than one."""
        asked, text = self._publishers
        now = time.monotonic()
        if now - asked >= _PUBLISHERS_AGE:
            text = "".join(self._crowd(topic) for topic in self._topics)
            self._publishers = now, text
        return text

    def _crowd(self, topic: str) -> str:
        infos = self._node.get_publishers_info_by_topic(topic)
        if len(infos) < 2:
            return ""
        names = sorted(f"{info.node_namespace.rstrip('/')}/{info.node_name}" for info in infos)
        return f"; {topic} is published by {', '.join(names)}"
