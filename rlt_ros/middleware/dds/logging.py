"""Logger of a node: lines on the standard error, and messages on `/rosout`."""

from __future__ import annotations

import enum
import sys
import time
from collections.abc import Callable
from typing import Any


class LoggingSeverity(enum.IntEnum):
    """Severity of a line."""

    UNSET = 0
    DEBUG = 10
    INFO = 20
    WARN = 30
    ERROR = 40
    FATAL = 50


class Logger:
    """Logger with a severity level.

    Args:
        name: name of the node with dots for slashes.
        level: lowest severity that is written.
        publish: publish(severity, text, file, function, line) on `/rosout`, or None.
    """

    def __init__(
        self, name: str, level: LoggingSeverity, publish: Callable[[int, str, str, str, int], None] | None
    ) -> None:
        self.name, self._level, self._publish = name, level, publish
        # Call site → steady time of its last line, s.
        self._last: dict[tuple[str, int], float] = {}

    def set_level(self, level: LoggingSeverity) -> None:
        """Set the lowest severity that is written."""
        self._level = LoggingSeverity(level)

    def get_effective_level(self) -> LoggingSeverity:
        """Lowest severity that is written."""
        return self._level

    def is_enabled_for(self, severity: LoggingSeverity) -> bool:
        """Return whether a line of ``severity`` is written."""
        return severity >= self._level

    def debug(self, message: str, **filters: Any) -> bool:
        """Log a line for developers."""
        return self._log(message, LoggingSeverity.DEBUG, **filters)

    def info(self, message: str, **filters: Any) -> bool:
        """Log an expected event."""
        return self._log(message, LoggingSeverity.INFO, **filters)

    def warning(self, message: str, **filters: Any) -> bool:
        """Log a problem that the node can handle."""
        return self._log(message, LoggingSeverity.WARN, **filters)

    def warn(self, message: str, **filters: Any) -> bool:
        """Log as :meth:`warning`."""
        return self._log(message, LoggingSeverity.WARN, **filters)

    def error(self, message: str, **filters: Any) -> bool:
        """Log a failure."""
        return self._log(message, LoggingSeverity.ERROR, **filters)

    def fatal(self, message: str, **filters: Any) -> bool:
        """Log a failure of the whole node."""
        return self._log(message, LoggingSeverity.FATAL, **filters)

    def _log(
        self,
        message: str,
        severity: LoggingSeverity,
        *,
        once: bool = False,
        throttle_duration_sec: float = 0.0,
    ) -> bool:
        """Write a line unless filtered by level, ``once`` or throttling per call site; returns whether it did."""
        if severity < self._level:
            return False
        caller = sys._getframe(2)
        place = (caller.f_code.co_filename, caller.f_lineno)
        if once or throttle_duration_sec:
            now, last = time.monotonic(), self._last.get(place)
            if last is not None and (once or now - last < throttle_duration_sec):
                return False
            self._last[place] = now
        stamp = time.time()
        print(f"[{severity.name}] [{stamp:.9f}] [{self.name}]: {message}", file=sys.stderr, flush=True)
        if self._publish:
            self._publish(severity, message, place[0], caller.f_code.co_name, place[1])
        return True
