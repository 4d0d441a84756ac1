"""Scheduling on a busy computer: real-time priority for the control path, a nice level for the learner."""

from __future__ import annotations

import gc
import os

from rlt_ros.middleware import Node


def enable_realtime(node: Node, priority: int) -> None:
    """Give all threads of this process a real-time priority (SCHED_FIFO); 0 leaves them as they are.

    Long pauses of Python's garbage collection are avoided as well. Without the permission (`ulimit -r`, CAP_SYS_NICE)
    a log line reports the missing priority.
    """
    gc.collect()
    # Loaded objects are permanent; scanning them in each collection takes milliseconds.
    gc.freeze()
    if priority == 0 or not hasattr(os, "sched_setscheduler"):
        return
    try:
        _schedule(os.SCHED_FIFO, priority)
    except OSError as error:
        node.get_logger().info(
            f"no real-time priority ({error.strerror}): commands may be late on a busy computer; `ulimit -r` grants one"
        )


def disable_realtime() -> None:
    """Return to the default scheduler."""
    gc.unfreeze()
    if hasattr(os, "sched_setscheduler"):
        _schedule(os.SCHED_OTHER, 0)


def renice(steps: int) -> None:
    """Raise the nice level of this thread, and of the threads that it starts, to at least ``steps``."""
    os.setpriority(os.PRIO_PROCESS, 0, max(steps, os.getpriority(os.PRIO_PROCESS, 0)))


def _schedule(policy: int, priority: int) -> None:
    # All threads: the node waits for locks that threads of the middleware hold.
    for thread in os.listdir("/proc/self/task"):
        os.sched_setscheduler(int(thread), policy, os.sched_param(priority))
