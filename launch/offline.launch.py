"""ros2 launch rlt_ros offline.launch.py: see docs/how-to/ros2.md; --show-args lists the arguments."""

from rlt_ros.bringup_launch import description


def generate_launch_description():
    """The nodes of the mode, and its arguments."""
    return description("offline")
