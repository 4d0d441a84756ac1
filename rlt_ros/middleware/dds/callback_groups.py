"""Callback groups: concurrency of callbacks in a multi-threaded executor."""

from __future__ import annotations

import threading


class CallbackGroup:
    """Base class of callback groups."""

    def begin(self) -> bool:
        """Begin a callback if it may run now; returns whether it may."""
        raise NotImplementedError

    def end(self) -> None:
        """End a callback."""
        raise NotImplementedError

    def can_begin(self) -> bool:
        """Return whether :meth:`begin` would succeed."""
        raise NotImplementedError


class ReentrantCallbackGroup(CallbackGroup):
    """Group whose callbacks run concurrently."""

    def begin(self) -> bool:
        """Begin a callback; always succeeds."""
        return True

    def end(self) -> None:
        """End a callback; no state changes."""

    def can_begin(self) -> bool:
        """Return True."""
        return True


class MutuallyExclusiveCallbackGroup(CallbackGroup):
    """Group whose callbacks run one at a time."""

    def __init__(self) -> None:
        self._running = threading.Lock()

    def begin(self) -> bool:
        """Begin a callback unless another one runs."""
        return self._running.acquire(blocking=False)

    def end(self) -> None:
        """End the callback."""
        self._running.release()

    def can_begin(self) -> bool:
        """Return whether no callback runs."""
        return not self._running.locked()
