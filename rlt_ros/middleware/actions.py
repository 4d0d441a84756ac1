"""Clients of ROS 2 actions. Without ROS 2 there are none: actions are services, which the stand-in does not have."""

from __future__ import annotations

import importlib
from typing import Any

from rlt_ros.middleware.choice import IMPLEMENTATION, MiddlewareError

SUCCEEDED, CANCELED, ABORTED = 4, 5, 6
"""How a goal ends; `STATUS_…` of `action_msgs/msg/GoalStatus`."""


def action_client(node: Any, type_name: str, name: str) -> tuple[Any, Any]:
    """A client, and the class of its actions, e.g. ``control_msgs/action/GripperCommand``.

    Raises:
        MiddlewareError: this process does not use ROS 2, or the action's package is not installed.
    """
    package, _, short = type_name.split("/")
    if IMPLEMENTATION != "rclpy":
        raise MiddlewareError(
            f"the action {name} ({type_name}) needs ROS 2; source it, or command by a topic"
        )
    try:
        kind = getattr(importlib.import_module(f"{package}.action"), short)
    except (ImportError, AttributeError) as error:
        raise MiddlewareError(
            f"{type_name} cannot be imported: {error}; install the ROS package {package}"
        ) from error
    from rclpy.action import ActionClient

    return ActionClient(node, kind, name), kind
