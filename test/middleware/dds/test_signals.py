"""Signals that come at the worst moment: while DDS is calling Python from C, or while it is being left."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
import threading

import pytest

pytest.importorskip("cyclonedds")

from cyclonedds.core import GuardCondition

from rlt_ros.middleware import SingleThreadedExecutor, init, try_shutdown
from rlt_ros.middleware.choice import IMPLEMENTATION

pytestmark = pytest.mark.skipif(IMPLEMENTATION != "dds", reason="signals are rclpy's own here")
PATIENCE = 60.0

BEGIN = """
    import signal
    from cyclonedds.internal import SampleInfo
    from rlt_ros.middleware import MultiThreadedExecutor, Node, SingleThreadedExecutor, init, ok, try_shutdown
    from rlt_ros.middleware.messages import String

    def interrupt_what_dds_calls(number):
        original = SampleInfo.__init__

        def interrupted(self, *args, **kwargs):
            SampleInfo.__init__ = original
            signal.raise_signal(number)
            original(self, *args, **kwargs)

        SampleInfo.__init__ = interrupted

    init(args=[])
    node, executor, heard = Node("n"), SingleThreadedExecutor(), []
    executor.add_node(node)
"""
END = """
    executor.shutdown()
    node.destroy_node()
    try_shutdown()
    print("left in order")
"""
MESSAGES = """
    publisher = node.create_publisher(String, "words", 10)
    node.create_subscription(String, "words", heard.append, 10)
    while not heard:
        publisher.publish(String(data="knock"))
        executor.spin_once(timeout_sec=0.1)
    interrupt_what_dds_calls(signal.SIGINT)
    publisher.publish(String(data="late"))
    try:
        while True:
            executor.spin_once(timeout_sec=1.0)
    except KeyboardInterrupt:
        print("interrupted", ok())
"""
GRAPH = """
    while not node.get_node_names_and_namespaces():
        executor.spin_once(timeout_sec=0.1)
    interrupt_what_dds_calls(signal.SIGINT)
    try:
        while True:
            node.count_publishers("/words")
    except KeyboardInterrupt:
        print("interrupted", ok())
"""


def python(*parts: str) -> subprocess.CompletedProcess[str]:
    code = "\n".join(textwrap.dedent(part) for part in parts)
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


@pytest.mark.parametrize("reading", [MESSAGES, GRAPH], ids=["messages", "graph"])
def test_an_interrupt_waits_until_dds_has_read(reading: str) -> None:
    done = python(BEGIN, reading, END)
    assert (done.returncode, done.stdout) == (0, "interrupted False\nleft in order\n"), done.stderr


def test_who_leaves_waits_for_who_wakes(monkeypatch: pytest.MonkeyPatch) -> None:
    init(args=[])
    executor, original = SingleThreadedExecutor(), GuardCondition.set
    waking, go_on, left = threading.Event(), threading.Event(), threading.Event()

    def slow(guard: GuardCondition, triggered: bool) -> None:
        waking.set()
        assert go_on.wait(PATIENCE)
        original(guard, triggered)  # DDS crashes here if the process has left it

    def leave() -> None:
        executor.shutdown()
        try_shutdown()
        left.set()

    monkeypatch.setattr(GuardCondition, "set", slow)
    threads = [threading.Thread(target=executor.wake), threading.Thread(target=leave)]
    threads[0].start()
    assert waking.wait(PATIENCE)
    monkeypatch.undo()
    threads[1].start()
    assert not left.wait(0.3)
    go_on.set()
    assert left.wait(PATIENCE)
    for thread in threads:
        thread.join(PATIENCE)
    try_shutdown()
