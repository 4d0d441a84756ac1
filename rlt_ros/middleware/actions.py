"""Clients of ROS 2 actions, only with ROS 2: the implementation on DDS has no services, which actions need."""

from __future__ import annotations

import importlib
from typing import Any

from rlt_ros.middleware.choice import IMPLEMENTATION, MiddlewareError

SUCCEEDED, CANCELED, ABORTED = 4, 5, 6
"""Final states of a goal, `STATUS_…` of `action_msgs/msg/GoalStatus`."""


def action_client(node: Any, type_name: str, name: str) -> tuple[Any, Any]:
    """Create a client; returns it and the class of its action, e.g. ``control_msgs/action/GripperCommand``.

    Raises:
        MiddlewareError: this process does not use ROS 2, or the action's package is not installed.
    """
    package, _, short = type_name.split("/")
    if IMPLEMENTATION != "rclpy":
        raise MiddlewareError(
            f"the action {name} ({type_name}) requires ROS 2; source it, or use a topic for commands"
        )
    try:
        kind = getattr(importlib.import_module(f"{package}.action"), short)
    except (ImportError, AttributeError) as error:
        raise MiddlewareError(
            f"{type_name} cannot be imported: {error}; install the ROS package {package}"
        ) from error
    from rclpy.action import ActionClient

    return ActionClient(node, kind, name), kind
