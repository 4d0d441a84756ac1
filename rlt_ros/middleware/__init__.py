"""ROS graph with and without ROS 2: nodes import from here and from `messages` only.

Where ROS 2 is sourced, the names are rclpy's. Elsewhere they are a small implementation with the same names and
signatures on Cyclone DDS, which joins the same graph. The implementation is selected on import;
``RLT_ROS_MIDDLEWARE=rclpy|dds`` overrides the selection.
"""

from __future__ import annotations

from rlt_ros.middleware.choice import IMPLEMENTATION

if IMPLEMENTATION == "rclpy":
    from rlt_ros.middleware.from_rclpy import *  # noqa: F403
    from rlt_ros.middleware.from_rclpy import __all__ as _names
else:
    from rlt_ros.middleware.from_dds import *  # noqa: F403
    from rlt_ros.middleware.from_dds import __all__ as _names

__all__ = ["IMPLEMENTATION", *_names]
