"""Places of a server: a few peers at once, and none that is silent keeps another out for long."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

_FAREWELL = 0.5  # s; a peer that has just left is still being seen off


@dataclass(eq=False)
class Place:
    """Place of one peer.

    Attributes:
        leave: hangs up on the peer.
        silent_since: steady s of its last whole message, or of the answer to it; None while one is computed.
    """

    leave: Callable[[], None]
    silent_since: float | None = field(default_factory=time.monotonic)


class Places:
    """A fixed number of places. Safe to use from several threads.

    Args:
        count: peers at once.
        idle: seconds of silence after which a peer makes room for one that waits; nobody waiting, it stays.
        leaving: seconds that a peer which makes room has for its farewell.
        clock: steady seconds.
    """

    def __init__(
        self, count: int, *, idle: float, leaving: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._free, self._idle, self._leaving, self._clock = (
            threading.Semaphore(count),
            idle,
            leaving,
            clock,
        )
        self._taken: set[Place] = set()
        self._lock = threading.Lock()

    def take(self, leave: Callable[[], None]) -> Place | None:
        """Take a place, of the peer that has been silent the longest where none is free; None if all are in use."""
        if not self._free.acquire(timeout=_FAREWELL):
            silent = self._longest_silent()
            if silent is None:
                return None
            silent.leave()
            if not self._free.acquire(timeout=self._leaving):
                return None
        place = Place(leave, self._clock())
        with self._lock:
            self._taken.add(place)
        return place

    def give_back(self, place: Place) -> None:
        """Free a place."""
        with self._lock:
            self._taken.discard(place)
        self._free.release()

    def busy(self, place: Place) -> None:
        """Note that a peer waits for an answer."""
        place.silent_since = None

    def silent(self, place: Place) -> None:
        """Note that the next word is the peer's."""
        place.silent_since = self._clock()

    def _longest_silent(self) -> Place | None:
        now, found = self._clock(), None
        with self._lock:
            since = {place: place.silent_since for place in self._taken}
            silent = {place: at for place, at in since.items() if at is not None and now - at >= self._idle}
            if silent:
                found = min(silent, key=silent.__getitem__)
                self._taken.discard(found)  # no second peer waits for the same place
        return found
