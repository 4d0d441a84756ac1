"""Press or release of the e-stop, published like `ros2 topic pub --once /rlt/e_stop`: ``one_press.py true|false``.

It publishes as soon as it has discovered one subscription, once and without latching, and leaves 0.1 s later.
"""

from __future__ import annotations

import sys

from rlt_ros.middleware import Node, SingleThreadedExecutor, init, shutdown
from rlt_ros.middleware.messages import Bool
from rlt_ros.ros import qos

KEEP_ALIVE = 0.1  # s; of ros2topic in Jazzy


def main(pressed: bool) -> None:
    """Publish and leave."""
    init(args=[])
    node = Node("person")
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    publisher = node.create_publisher(Bool, "rlt/e_stop", qos.RELIABLE)
    while not publisher.get_subscription_count():
        executor.spin_once(timeout_sec=0.05)
    publisher.publish(Bool(data=pressed))
    executor.spin_once(timeout_sec=KEEP_ALIVE)
    executor.shutdown()
    node.destroy_node()
    shutdown()


if __name__ == "__main__":
    main(sys.argv[1] == "true")
