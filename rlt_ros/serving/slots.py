"""Connection slots of a server: a limited number of peers, of which silent ones yield to waiting ones."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

_CLOSE_TIME = 0.5
"""s; a leaving peer frees its slot within this time."""


@dataclass(eq=False)
class ConnectionSlot:
    """Slot of one peer.

    Attributes:
        evict: disconnects the peer.
        silent_since: steady s of its last complete message or of the answer to it; None while one is computed.
    """

    evict: Callable[[], None]
    silent_since: float | None = field(default_factory=time.monotonic)


class ConnectionSlots:
    """Fixed number of slots. Safe to use from several threads.

    Args:
        count: largest number of peers.
        idle: s of silence after which a peer yields to a waiting one; without a waiting one it stays.
        leaving: s for an evicted peer to disconnect.
        clock: steady seconds.
    """

    def __init__(
        self, count: int, *, idle: float, leaving: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._free = threading.Semaphore(count)
        self._idle, self._leaving, self._clock = idle, leaving, clock
        self._taken: set[ConnectionSlot] = set()
        self._lock = threading.Lock()

    def acquire(self, evict: Callable[[], None]) -> ConnectionSlot | None:
        """Take a free slot, or that of the longest silent peer; None if all are in use."""
        if not self._free.acquire(timeout=_CLOSE_TIME):
            silent = self._longest_silent()
            if silent is None:
                return None
            silent.evict()
            if not self._free.acquire(timeout=self._leaving):
                return None
        slot = ConnectionSlot(evict, self._clock())
        with self._lock:
            self._taken.add(slot)
        return slot

    def release(self, slot: ConnectionSlot) -> None:
        """Free a slot."""
        with self._lock:
            self._taken.discard(slot)
        self._free.release()

    def mark_busy(self, slot: ConnectionSlot) -> None:
        """Mark a peer as waiting for an answer."""
        slot.silent_since = None

    def mark_silent(self, slot: ConnectionSlot) -> None:
        """Mark a peer as silent from now on."""
        slot.silent_since = self._clock()

    def _longest_silent(self) -> ConnectionSlot | None:
        now, found = self._clock(), None
        with self._lock:
            since = {slot: slot.silent_since for slot in self._taken}
            silent = {slot: at for slot, at in since.items() if at is not None and now - at >= self._idle}
            if silent:
                found = min(silent, key=silent.__getitem__)
                # A second waiting peer must not evict the same one.
                self._taken.discard(found)
        return found
