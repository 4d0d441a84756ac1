"""Commands to a gripper with its own topic or action, sent on change."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from rlt_ros.middleware import Node
from rlt_ros.middleware.arrays import pack
from rlt_ros.middleware.choice import MiddlewareError
from rlt_ros.middleware.messages import JointState, UnknownMessageType, message_type
from rlt_ros.robots.gripper import ACTION_TYPES, TOPIC_TYPES, ChangeFilter, GripperProfile
from rlt_ros.ros import qos
from rlt_ros.ros.conversions import to_header
from rlt_ros.ros.diagnostics import OK, Report
from rlt_ros.ros.gripper_goals import GripperGoals
from rlt_ros.ros.topics import Topics


class GripperInterfaceError(ValueError):
    """Missing message package, or an action without ROS 2."""


class GripperOutput:
    """Publisher or action client of a gripper.

    Args:
        node: owner of the publisher or client.
        topics: factory of publishers.
        profile: gripper profile; its `type` is not `joint`.
        joint: joint name in messages.

    Raises:
        GripperInterfaceError: the message package is missing, or the gripper has an action and ROS 2 is not sourced.
    """

    def __init__(self, node: Node, topics: Topics, profile: GripperProfile, joint: str) -> None:
        assert profile.topic is not None
        self._node, self._profile, self._changes = node, profile, ChangeFilter(profile)
        self._joint = joint
        self._publisher: Any = None
        self._goals: GripperGoals | None = None
        try:
            if profile.type in ACTION_TYPES:
                self._goals = GripperGoals(node, profile, joint)
            else:
                self._kind = message_type(TOPIC_TYPES[profile.type])
                self._publisher = topics.publisher(self._kind, profile.topic, qos.COMMAND)
        except (MiddlewareError, UnknownMessageType) as error:
            raise GripperInterfaceError(f"`gripper.type` is {profile.type}: {error}") from error

    def send(self, value: float, stamp: int) -> None:
        """Send a command, in the unit of the robot, if it changed or was lost."""
        now = time.monotonic()
        if self._goals is not None and self._goals.was_lost():
            self._changes.failed(now)
        if not self._changes.passes(value, now):
            return
        if self._goals is not None:
            self._goals.send(value)
        else:
            self._publisher.publish(self._message(value, stamp))

    def report(self) -> Report:
        """State of the newest command, if the interface reports it."""
        if self._goals is not None:
            return self._goals.report()
        return OK, f"{self._profile.topic} is a topic without feedback", {}

    def close(self) -> None:
        """Destroy publisher or client."""
        if self._publisher is not None:
            self._node.destroy_publisher(self._publisher)
        if self._goals is not None:
            self._goals.close()
        self._publisher = self._goals = None

    def _message(self, value: float, stamp: int) -> Any:
        if self._profile.type == "joint_state":
            return JointState(header=to_header(stamp), name=[self._joint], position=pack(np.array([value])))
        if self._profile.type == "forward":
            return self._kind(data=pack(np.array([value])))
        return self._kind(name=self._joint, cmd=value)
