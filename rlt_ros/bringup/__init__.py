"""Description of the graph: launch arguments, and the nodes for a robot, a task and a mode.

``rlt-ros launch`` (`rlt_ros.cli.launch`, plain processes) and ``ros2 launch`` (`rlt_ros.bringup_launch`,
`launch/*.launch.py`) both start this description, without nodes, parameters or remappings of their own.
"""

from rlt_ros.bringup.arguments import MODES, WITHOUT_RUN, Arguments, as_text, from_text, with_run
from rlt_ros.bringup.description import graph
from rlt_ros.bringup.node_spec import MISCONFIGURED, ORDER, LaunchError, NodeSpec, simulates, stop_order

__all__ = [
    "MISCONFIGURED",
    "MODES",
    "ORDER",
    "WITHOUT_RUN",
    "Arguments",
    "LaunchError",
    "NodeSpec",
    "as_text",
    "from_text",
    "graph",
    "simulates",
    "stop_order",
    "with_run",
]
