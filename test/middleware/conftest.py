"""For the tests of the graph: a DDS domain of their own on this host, and children that are real processes."""

from __future__ import annotations

import os
import random
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

# Before anything joins the graph. Domains up to 101 keep their ports out of the range that Linux hands out to others.
os.environ["ROS_DOMAIN_ID"] = str(random.SystemRandom().randrange(1, 102))
os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"

from rlt_ros.middleware import Node, SingleThreadedExecutor, init, try_shutdown

CHILD = Path(__file__).with_name("child.py")
PATIENCE = 30.0  # s; how long a busy machine may take for what needs milliseconds


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
            assert time.monotonic() < end, f"did not come true within {PATIENCE} s: {what or condition}"
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


class Child:
    """A process that plays one of the roles of `child.py`."""

    def __init__(self, *arguments: str) -> None:
        root = Path(__file__).resolve().parents[2]
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(root), os.environ.get("PYTHONPATH", "")]),
        }
        self.process = subprocess.Popen(
            [sys.executable, str(CHILD), *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            stdin=subprocess.PIPE,
            env=environment,
            bufsize=0,
            # A shell ignores SIGINT for what it runs in the background, and children inherit that.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        self._rest = b""

    def line(self) -> str:
        """The next line that it prints."""
        assert self.process.stdout is not None
        end = time.monotonic() + PATIENCE
        while b"\n" not in self._rest:
            ready, _, _ = select.select([self.process.stdout], [], [], max(0.0, end - time.monotonic()))
            data = os.read(self.process.stdout.fileno(), 65536) if ready else b""
            assert data, f"no line from the child: {'it ended' if ready else 'it is silent'}\n{self.errors()}"
            self._rest += data
        line, _, self._rest = self._rest.partition(b"\n")
        return line.decode()

    def errors(self) -> str:
        """What it wrote to the standard error; ends it."""
        self.process.kill()
        return self.process.communicate()[1].decode()

    def end(self, how: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal and return the exit status."""
        self.process.send_signal(how)
        return self.process.wait(PATIENCE)

    def close(self) -> None:
        """End it in any case."""
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def child() -> Iterator[Callable[..., Child]]:
    """Starts children, and ends them after the test."""
    children: list[Child] = []

    def start(*arguments: str) -> Child:
        children.append(Child(*arguments))
        return children[-1]

    yield start
    for one in children:
        one.close()
