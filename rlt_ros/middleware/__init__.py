"""The ROS graph, with and without ROS 2: nodes import from here and from `messages` alone.

Where ROS 2 is sourced, the names are rclpy's own. Elsewhere they are a small implementation with the same names and
signatures on Cyclone DDS, which takes part in the same graph. Which of the two is chosen once, when this is imported;
``RLT_ROS_MIDDLEWARE=rclpy|dds`` chooses by hand.
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
