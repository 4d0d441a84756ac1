"""Inputs that may not fall silent."""

from __future__ import annotations


class Watchdog:
    """Barks when an input has been silent for too long, or was never heard.

    Args:
        timeout: s; 0 for one that never barks.
    """

    def __init__(self, timeout: float) -> None:
        self._timeout = round(timeout * 1e9)
        self._fed: int | None = None

    def feed(self, now: int) -> None:
        """The input was heard at `now`, ns of a clock that never goes back."""
        self._fed = now

    def reset(self) -> None:
        """As if the input had never been heard."""
        self._fed = None

    def silent(self, now: int) -> bool:
        """Return whether the input has been silent for longer than the timeout at `now`, ns."""
        if self._timeout == 0:
            return False
        return self._fed is None or now - self._fed > self._timeout

    def age(self, now: int) -> float:
        """Seconds since it was heard at `now`, ns; infinite if it never was."""
        return float("inf") if self._fed is None else (now - self._fed) * 1e-9


class Patience:
    """Tells when a condition has held without a break for too long.

    Args:
        limit: ns.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._since: int | None = None

    def is_over(self, holds: bool, now: int) -> bool:
        """Return whether it holds at steady time `now`, ns, and has since `limit` at least."""
        if not holds:
            self._since = None
            return False
        if self._since is None:
            self._since = now
        return now - self._since >= self._limit

    def reset(self) -> None:
        """Begin again."""
        self._since = None
