"""A DDS domain of their own for the tests of one process, and the test's own node in it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from rlt_ros.middleware import Node, SingleThreadedExecutor, init, try_shutdown

PATIENCE = 120.0  # s; a busy machine may take this long for work of milliseconds


class Graph:
    """The test's own process in the graph."""

    def __init__(self) -> None:
        self.executor = SingleThreadedExecutor()
        self._nodes: list[Node] = []

    def node(self, name: str, **options: Any) -> Node:
        """A node that is called back by :meth:`until`."""
        return self.add(Node(name, **options))

    def add(self, node: Any) -> Any:
        """Call back for a node of the test's own making."""
        self._nodes.append(node)
        self.executor.add_node(node)
        return node

    def until(self, condition: Callable[[], Any], *, what: str = "") -> None:
        """Spin until ``condition`` holds."""
        end = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < end, (
                f"not true within {PATIENCE} s in ROS_DOMAIN_ID {os.environ['ROS_DOMAIN_ID']}: {what or condition}"
            )
            self.executor.spin_once(timeout_sec=0.05)

    def close(self) -> None:
        """Leave the graph."""
        self.executor.shutdown()
        for node in self._nodes:
            node.destroy_node()


@pytest.fixture
def graph() -> Iterator[Graph]:
    """A process that takes part in the graph."""
    init(args=[])
    here = Graph()
    try:
        yield here
    finally:
        here.close()
        try_shutdown()
