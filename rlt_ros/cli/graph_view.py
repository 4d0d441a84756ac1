"""Observing node of `rlt-ros graph`, `rlt-ros echo` and other views of a graph."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from typing import Any

from rlt_ros.middleware import (
    DurabilityPolicy,
    Node,
    QoSProfile,
    ReliabilityPolicy,
    SingleThreadedExecutor,
    init,
    try_shutdown,
)
from rlt_ros.middleware.messages import UnknownMessageType, message_type

_ANY_PUBLISHER = QoSProfile(depth=100, reliability=ReliabilityPolicy.BEST_EFFORT)
# s, polling period of the discovery.
_DISCOVERY_PERIOD = 0.1


class NoPublisher(ValueError):
    """Topic without a publisher."""


@contextlib.contextmanager
def observer() -> Iterator[tuple[Node, SingleThreadedExecutor]]:
    """Yield a node without topics of its own, and an executor for it."""
    init(args=[])
    try:
        node = Node(f"rlt_ros_cli_{os.getpid()}", enable_rosout=False)
        executor = SingleThreadedExecutor()
        executor.add_node(node)
        try:
            yield node, executor
        finally:
            executor.shutdown()
            node.destroy_node()
    finally:
        try_shutdown()


def observe_graph(seconds: float) -> dict[str, Any]:
    """Nodes and topics of the graph, observed for ``seconds``.

    Returns:
        ``nodes``: full names; ``topics``: name, types, publishers and subscriptions by node, and messages and bytes
        per second, None for an unknown type.
    """
    with observer() as (node, executor):
        counters: dict[str, _TopicCounter] = {}
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            for name, types in node.get_topic_names_and_types():
                if name not in counters:
                    counters[name] = _TopicCounter(node, name, types)
            _spin_for(executor, min(left, _DISCOVERY_PERIOD))
        own = node.get_name()
        nodes = sorted(
            _full_name(*names) for names in node.get_node_names_and_namespaces() if names[0] != own
        )
        topics = [
            counters[name].row(types) for name, types in node.get_topic_names_and_types() if name in counters
        ]
        return {
            "nodes": nodes,
            "topics": [topic for topic in topics if topic["publishers"] or topic["subscriptions"]],
        }


def wait_for_topic(
    node: Node, executor: SingleThreadedExecutor, topic: str, timeout: float
) -> tuple[str, QoSProfile]:
    """Type of a topic, and a quality of service that matches all its publishers.

    Raises:
        NoPublisher: it has no publisher within ``timeout`` seconds.
    """
    end = time.monotonic() + timeout
    while not (publishers := node.get_publishers_info_by_topic(topic)):
        if time.monotonic() > end:
            known = ", ".join(name for name, _ in node.get_topic_names_and_types()) or "none"
            raise NoPublisher(f"{topic} has no publisher within {timeout:g} s; known topics: {known}")
        _spin_for(executor, _DISCOVERY_PERIOD)
    profiles = [publisher.qos_profile for publisher in publishers]
    reliable = all(profile.reliability == ReliabilityPolicy.RELIABLE for profile in profiles)
    latched = all(profile.durability == DurabilityPolicy.TRANSIENT_LOCAL for profile in profiles)
    qos = QoSProfile(
        depth=100,
        reliability=ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT,
        durability=DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE,
    )
    return publishers[0].topic_type, qos


class _TopicCounter:
    """Counter of the messages and bytes on a topic, without decoding them."""

    def __init__(self, node: Node, name: str, types: list[str]) -> None:
        self._node, self._name = node, name
        self._messages, self._bytes, self._since = 0, 0, time.monotonic()
        self._known = False
        with contextlib.suppress(UnknownMessageType):
            cls = message_type(types[0])
            node.create_subscription(cls, name, self._count, _ANY_PUBLISHER, raw=True)
            self._known = True

    def _count(self, payload: bytes) -> None:
        self._messages += 1
        self._bytes += len(payload)

    def row(self, types: list[str]) -> dict[str, Any]:
        """Row of the topic in `observe_graph`."""
        seconds = time.monotonic() - self._since
        return {
            "name": self._name,
            "types": types,
            "publishers": self._nodes(self._node.get_publishers_info_by_topic),
            "subscriptions": self._nodes(self._node.get_subscriptions_info_by_topic),
            "rate": self._messages / seconds if self._known else None,
            "bytes_per_second": self._bytes / seconds if self._known else None,
        }

    def _nodes(self, endpoints: Callable[[str], list[Any]]) -> list[str]:
        found = endpoints(self._name)
        return sorted(
            _full_name(endpoint.node_name, endpoint.node_namespace)
            for endpoint in found
            if endpoint.node_name != self._node.get_name()
        )


def _full_name(name: str, namespace: str) -> str:
    return f"{namespace.rstrip('/')}/{name}"


def _spin_for(executor: SingleThreadedExecutor, seconds: float) -> None:
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        executor.spin_once(timeout_sec=left)
