"""Status of a node on `/diagnostics`, once per second on the steady clock."""

from __future__ import annotations

import os
import socket
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from rlt_ros.middleware import Clock, ClockType, Node
from rlt_ros.middleware.messages import DiagnosticArray, DiagnosticStatus, KeyValue
from rlt_ros.ros import qos

OK, WARN, ERROR, STALE = (
    DiagnosticStatus.OK,
    DiagnosticStatus.WARN,
    DiagnosticStatus.ERROR,
    DiagnosticStatus.STALE,
)

Report: TypeAlias = "tuple[bytes, str, Mapping[str, Any]]"
"""(level, message, figures by name)."""

_PERIOD = 1.0
"""s; diagnostic_aggregator expects 1 Hz."""
_PROCESS = f"process {os.getpid()} on {socket.gethostname()}"


class Diagnostics:
    """Publishes one status for each registered task.

    Args:
        node: owner of the status. The name of a status is "/full/node_name: task".
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        self._tasks: dict[str, Callable[[], Report]] = {}
        self._publisher = node.create_publisher(DiagnosticArray, "/diagnostics", qos.DIAGNOSTICS)
        # The steady clock, so that a paused simulation reports, too.
        self._timer = node.create_timer(_PERIOD, self.publish, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def add(self, name: str, task: Callable[[], Report]) -> None:
        """Call ``task`` once per second for (level, message, {key: value})."""
        self._tasks[name] = task

    def publish(self) -> None:
        """Publish now."""
        array = DiagnosticArray(status=[self._status(name, task) for name, task in self._tasks.items()])
        array.header.stamp = self._node.get_clock().now().to_msg()
        self._publisher.publish(array)

    def _status(self, name: str, task: Callable[[], Report]) -> Any:
        level, message, values = task()
        return DiagnosticStatus(
            level=level,
            name=f"{self._node.get_fully_qualified_name()}: {name}",
            hardware_id=_PROCESS,
            message=message,
            values=[KeyValue(key=key, value=_text(value)) for key, value in values.items()],
        )


class Dropped:
    """Counter of rejected input by kind; warns while its counts grow. Thread-safe.

    Args:
        diagnostics: publishes the counts.
        name: name of the status task.
    """

    def __init__(self, diagnostics: Diagnostics, name: str = "input") -> None:
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()
        self._new, self._last = 0, ""
        diagnostics.add(name, self.report)

    def add(self, kind: str, reason: str) -> None:
        """Count one rejected input.

        Args:
            kind: name of the counter, two or three words.
            reason: detail of this input, with its values.
        """
        with self._lock:
            self._counts[kind] += 1
            self._new += 1
            self._last = f"{kind}: {reason}"

    def __getitem__(self, kind: str) -> int:
        return self._counts[kind]

    @property
    def total(self) -> int:
        """Sum over all kinds."""
        return sum(self._counts.values())

    def report(self) -> Report:
        """Return WARN if input was dropped since the last report."""
        with self._lock:
            new, self._new = self._new, 0
            message = f"{new} dropped, last: {self._last}" if new else "all input was used"
            return (WARN if new else OK), message, dict(self._counts)


def _text(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)
