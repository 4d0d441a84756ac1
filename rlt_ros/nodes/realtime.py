"""Who goes first on a busy computer: nodes that must not be late, and one that can wait."""

from __future__ import annotations

import gc
import os

from rlt_ros.middleware import Node


def enable_realtime(node: Node, priority: int) -> None:
    """Give all threads of this process a real-time priority (SCHED_FIFO); 0 leaves them as they are.

    Python's own long pauses are avoided as well. Without the right to it (`ulimit -r`, CAP_SYS_NICE) nothing else
    changes, and the log says so.
    """
    gc.collect()
    gc.freeze()  # what is loaded by now stays; looking through it again takes milliseconds
    if priority == 0 or not hasattr(os, "sched_setscheduler"):
        return
    try:
        _schedule(os.SCHED_FIFO, priority)
    except OSError as error:
        node.get_logger().info(
            f"no real-time priority ({error.strerror}): on a busy computer the arm may wait; `ulimit -r` grants one"
        )


def disable_realtime() -> None:
    """Take the real-time priority back."""
    gc.unfreeze()
    if hasattr(os, "sched_setscheduler"):
        _schedule(os.SCHED_OTHER, 0)


def renice(steps: int) -> None:
    """Let others go first by ``steps`` of `nice`: this thread, and those that it starts."""
    os.setpriority(os.PRIO_PROCESS, 0, max(steps, os.getpriority(os.PRIO_PROCESS, 0)))


def _schedule(policy: int, priority: int) -> None:
    # The middleware's threads too: the node waits for locks that they hold.
    for thread in os.listdir("/proc/self/task"):
        os.sched_setscheduler(int(thread), policy, os.sched_param(priority))
