"""Action goals of a gripper and their results, without blocking: answers arrive as callbacks."""

from __future__ import annotations

import time
from typing import Any

from rlt_ros.middleware import Node
from rlt_ros.middleware.actions import ABORTED, CANCELED, SUCCEEDED, action_client
from rlt_ros.robots.gripper import ACTION_TYPES, RETRY_PERIOD, GripperProfile
from rlt_ros.ros.diagnostics import OK, WARN, Report

_NAMES = {SUCCEEDED: "succeeded", CANCELED: "canceled", ABORTED: "aborted"}


class GripperGoals:
    """Action client of a gripper; only the newest goal counts.

    Args:
        node: owner of the action client.
        profile: gripper profile; its `type` is an action.
        joint: joint name of the driver.

    Raises:
        MiddlewareError: ROS 2 is not sourced, or the action is not installed.
    """

    def __init__(self, node: Node, profile: GripperProfile, joint: str) -> None:
        assert profile.topic is not None
        self._node, self._profile, self._action, self._joint = node, profile, profile.topic, joint
        self._client, self._kind = action_client(node, ACTION_TYPES[profile.type], profile.topic)
        self._counts = {"goals_sent": 0, "goals_unanswered": 0, "goals_refused": 0}
        self._newest = 0
        self._unanswered_since: float | None = None  # s
        self._lost = False
        self._level, self._status = OK, "no goal sent yet"

    def was_lost(self) -> bool:
        """Return True once if the newest goal was rejected or not answered."""
        if self._unanswered_since is not None and time.monotonic() - self._unanswered_since > RETRY_PERIOD:
            self._unanswered_since, self._lost = None, True
            self._counts["goals_unanswered"] += 1
            self._set_status(WARN, f"did not answer within {RETRY_PERIOD:g} s")
        lost, self._lost = self._lost, False
        return lost

    def send(self, value: float) -> None:
        """Send a goal, in the unit of the robot, if the action has a server."""
        self._newest += 1
        if not self._client.server_is_ready():
            self._lost = True
            self._set_status(WARN, "has no server; the gripper does not move")
            return
        self._lost, self._unanswered_since = False, time.monotonic()
        self._counts["goals_sent"] += 1
        self._set_status(OK, f"goal {value:g} sent")
        number = self._newest
        self._client.send_goal_async(self._goal(value)).add_done_callback(
            lambda future: self._answered(number, value, future.result())
        )

    def report(self) -> Report:
        """State of the newest goal, and counters of all."""
        return self._level, self._status, self._counts

    def close(self) -> None:
        """Destroy the client and ignore further answers."""
        self._newest += 1
        self._client.destroy()

    def _answered(self, number: int, value: float, handle: Any) -> None:
        if not handle.accepted:
            self._counts["goals_refused"] += 1
        if number == self._newest:
            self._unanswered_since, self._lost = None, not handle.accepted
            if self._lost:
                self._set_status(WARN, f"goal {value:g} rejected")
        if handle.accepted:
            handle.get_result_async().add_done_callback(
                lambda future: self._ended(number, value, future.result())
            )

    def _ended(self, number: int, value: float, response: Any) -> None:
        status = _NAMES.get(response.status, f"status_{response.status}")
        self._counts[f"goals_{status}"] = self._counts.get(f"goals_{status}", 0) + 1
        if number != self._newest:
            # Replaced by a newer goal.
            return
        result = response.result
        where = f"{self._position(result):g}, goal {value:g}"
        if result.stalled:
            # An object is between the fingers; some drivers report that as a failure.
            self._set_status(OK, f"holds an object at {where}")
        elif response.status == SUCCEEDED:
            self._set_status(OK, f"reached {value:g}")
        else:
            self._set_status(WARN, f"{status} at {where}")

    def _position(self, result: Any) -> float:
        if self._profile.type == "gripper_command":
            return float(result.position)
        return float(result.state.position[0]) if result.state.position else float("nan")

    def _set_status(self, level: bytes, status: str) -> None:
        self._level, self._status = level, f"{self._action} {status}"
        if level != OK:
            self._node.get_logger().warning(self._status, throttle_duration_sec=5.0)

    def _goal(self, value: float) -> Any:
        goal = self._kind.Goal()
        if self._profile.type == "gripper_command":
            goal.command.position, goal.command.max_effort = value, self._profile.effort
        else:
            goal.command.name, goal.command.position = [self._joint], [value]
            if self._profile.effort > 0.0:
                goal.command.effort = [self._profile.effort]
        return goal
