"""Processes that the tests start: ``python child.py ROLE [argument …]``. A line of output says that something is so."""

from __future__ import annotations

import sys
import time

from rlt_ros.middleware import (
    DurabilityPolicy,
    ExternalShutdownException,
    MultiThreadedExecutor,
    Node,
    QoSProfile,
    RCLError,
    ReentrantCallbackGroup,
    ReliabilityPolicy,
    SingleThreadedExecutor,
    init,
    ok,
    spin,
    try_shutdown,
)
from rlt_ros.middleware.messages import Image, String

LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
BEST_EFFORT = QoSProfile(depth=10, reliability=ReliabilityPolicy.BEST_EFFORT)


def say(*words: object) -> None:
    """Print a line for the test."""
    print(*words, flush=True)


def parrot(node: Node) -> None:
    """Answers each word on `words` with the same on `echo`."""
    publisher = node.create_publisher(String, "echo", 100)
    node.create_subscription(String, "words", publisher.publish, 100)


def latched(node: Node) -> None:
    """Says one thing once, before anybody listens."""
    node.latched = node.create_publisher(String, "state", LATCHED)  # type: ignore[attr-defined]
    node.latched.publish(String(data="old"))  # type: ignore[attr-defined]
    node.latched.publish(String(data="new"))  # type: ignore[attr-defined]


def unreliable(node: Node) -> None:
    """Publishes best effort, which a reliable subscription does not accept."""
    publisher = node.create_publisher(String, "sensor", BEST_EFFORT)
    node.create_timer(0.02, lambda: publisher.publish(String(data="x")))


def images(node: Node) -> None:
    """Answers each megabyte with its size."""
    publisher = node.create_publisher(String, "size", 100)
    node.create_subscription(
        Image, "image", lambda image: publisher.publish(String(data=str(len(image.data)))), 100
    )


def busy(node: Node) -> None:
    """A callback that never ends, in a thread of its own."""
    group = ReentrantCallbackGroup()
    timers = [node.create_timer(0.01, lambda: (say("busy"), timers[0].cancel(), time.sleep(3600)), group)]


def reporter(node: Node) -> None:
    """Says what its parameters and names are."""
    say(
        node.get_fully_qualified_name(),
        node.declare_parameter("rate", 1.0).value,
        node.resolve_topic_name("words"),
    )
    node.get_logger().warning("look here")


def simulated(node: Node) -> None:
    """Says the simulated time whenever its timer fires."""
    node.create_timer(1.0, lambda: say("tick", node.get_clock().now().nanoseconds))


def idle(node: Node) -> None:
    """Does nothing."""


def main(role: str, *arguments: str) -> int:
    """Play a role until a signal comes."""
    init(args=list(arguments))
    node = Node(role)
    executor = MultiThreadedExecutor(2) if role == "busy" else SingleThreadedExecutor()
    try:
        globals()[role](node)
        say("ready")
        spin(node, executor)
        say("asked to stop")  # before it began to spin
    except KeyboardInterrupt:
        say("interrupted")
    except ExternalShutdownException:
        say("asked to stop")
    except RCLError:
        if ok():
            raise
        say("asked to stop")  # between rclpy's look at the context and its wait
    finally:
        executor.shutdown(timeout_sec=0.1)
        node.destroy_node()
        try_shutdown()
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
