"""ros2 launch rlt_ros monitor.launch.py: see docs/how-to/ros2.md; --show-args lists the arguments."""

from rlt_ros.bringup_launch import description


def generate_launch_description():
    """Return the launch description: nodes and arguments of the mode."""
    return description("monitor")
