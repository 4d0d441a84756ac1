"""Watchdogs on inputs and conditions."""

from __future__ import annotations


class Watchdog:
    """Time-out of an input.

    Args:
        timeout: s without a message after which it expires; 0 for never.
    """

    def __init__(self, timeout: float) -> None:
        self._timeout = round(timeout * 1e9)
        self._fed: int | None = None

    def feed(self, now: int) -> None:
        """Record a message at `now`, ns of a clock that never goes back."""
        self._fed = now

    def reset(self) -> None:
        """Return to the state before the first message."""
        self._fed = None

    def expired(self, now: int) -> bool:
        """Return whether the last message is older than the timeout at `now`, ns, or none ever came."""
        if self._timeout == 0:
            return False
        return self._fed is None or now - self._fed > self._timeout

    def age(self, now: int) -> float:
        """Seconds since the last message at `now`, ns; infinite before the first."""
        return float("inf") if self._fed is None else (now - self._fed) * 1e-9


class Persistence:
    """Condition that must hold without a break for some time.

    Args:
        duration: ns.
    """

    def __init__(self, duration: int) -> None:
        self._duration = duration
        self._since: int | None = None

    def update(self, holds: bool, now: int) -> bool:
        """Return whether the condition has held for the duration at steady time `now`, ns."""
        if not holds:
            self._since = None
            return False
        if self._since is None:
            self._since = now
        return now - self._since >= self._duration

    def reset(self) -> None:
        """Start again."""
        self._since = None
