"""Which callbacks may run beside each other in a multi-threaded executor."""

from __future__ import annotations

import threading


class CallbackGroup:
    """Base of the two kinds."""

    def begin(self) -> bool:
        """Start a callback if it may run now; returns whether it did."""
        raise NotImplementedError

    def end(self) -> None:
        """A callback that was begun is over."""
        raise NotImplementedError

    def can_begin(self) -> bool:
        """Return whether :meth:`begin` would do it."""
        raise NotImplementedError


class ReentrantCallbackGroup(CallbackGroup):
    """All at once."""

    def begin(self) -> bool:
        """Always."""
        return True

    def end(self) -> None:
        """Nothing to note."""

    def can_begin(self) -> bool:
        """Always."""
        return True


class MutuallyExclusiveCallbackGroup(CallbackGroup):
    """One at a time."""

    def __init__(self) -> None:
        self._running = threading.Lock()

    def begin(self) -> bool:
        """Unless another one runs."""
        return self._running.acquire(blocking=False)

    def end(self) -> None:
        """The next one may."""
        self._running.release()

    def can_begin(self) -> bool:
        """Unless another one runs."""
        return not self._running.locked()
