"""Memory bound of messages that are received at the same time.

A small message is received at any time. A larger one needs the receive lock, which one connection holds until its
answer; meanwhile the kernel holds back the other peers. A holder that does not finish sending is disconnected as soon
as another peer waits.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

SMALL = 4 * 2**20
"""Bytes of a message that needs no lock: three raw images of 640 × 480 are 2.7 MB."""

PATIENCE = 10.0
"""s, time for sending a large message while another peer waits."""

_POLL_PERIOD = 1.0
"""s, polling period of the lock's holder."""
_OVERHEAD = 2**20
"""Bytes of a message's frames and of the beginning of the next message."""


class ReceiveLock:
    """Permission to receive a large message, held by one connection at a time. Safe to use from several threads.

    Args:
        patience: s after which a sending peer is disconnected for a waiting one.
        clock: steady seconds.
    """

    def __init__(self, *, patience: float | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._patience = PATIENCE if patience is None else patience
        self._clock = clock
        self.changed = threading.Condition()
        self._holder: MeteredSocket | None = None
        # None once the holder's message is complete.
        self._sending_since: float | None = None

    def acquire(self, peer: MeteredSocket) -> None:
        """Wait for the lock and take it, unless the peer disconnects meanwhile."""
        with self.changed:
            while self._holder not in (None, peer) and not peer.closed:
                left = _POLL_PERIOD
                if self._sending_since is not None:
                    left = self._sending_since + self._patience - self._clock()
                if left <= 0 and self._holder is not None:
                    self._holder.disconnect()
                    break
                self.changed.wait(min(left, _POLL_PERIOD))
            if self._holder is not peer and not peer.closed:
                self._holder, self._sending_since = peer, self._clock()

    def message_received(self, peer: MeteredSocket) -> None:
        """Stop the time-out of the holder; from here on the answer takes the time."""
        with self.changed:
            if self._holder is peer:
                self._sending_since = None

    def release(self, peer: MeteredSocket) -> None:
        """Release the lock if the peer holds it."""
        with self.changed:
            if self._holder is peer:
                self._holder = None
            self.changed.notify_all()


class MeteredSocket:
    """Socket of a connection that counts the bytes of one message; all other attributes are those of the socket.

    Args:
        connected: the socket.
        lock: shared by all connections.
        largest: bytes of the largest message; further ones stay in the kernel.
        is_open: True while messages are kept; later bytes, e.g. the rest of an oversized message, are not.
    """

    def __init__(
        self, connected: socket.socket, lock: ReceiveLock, largest: int, is_open: Callable[[], bool]
    ) -> None:
        self._socket, self._lock, self._largest = connected, lock, largest + _OVERHEAD
        self._is_open = is_open
        self._received = 0
        self._closed = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._socket, name)

    @property
    def closed(self) -> bool:
        """True if received bytes are no longer kept."""
        return self._closed or not self._is_open()

    def recv(self, size: int) -> bytes:
        """Receive bytes once their memory is available; none after the connection is closed."""
        with self._lock.changed:
            while self._received >= self._largest and not self.closed:
                self._lock.changed.wait(_POLL_PERIOD)
        if self._received >= SMALL and not self.closed:
            self._lock.acquire(self)
        if self.closed:
            self.message_answered()
        data = self._socket.recv(size)
        self._received += len(data)
        return data

    def message_received(self) -> None:
        """Stop the time-out of the message."""
        self._lock.message_received(self)

    def message_answered(self) -> None:
        """Free the message's memory for other peers."""
        self._received = 0
        self._lock.release(self)

    def disconnect(self) -> None:
        """Shut the connection down; blocked readers and writers return."""
        self._closed = True
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
            self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the socket."""
        self._closed = True
        self.message_answered()
        self._socket.close()
