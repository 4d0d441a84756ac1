"""Bound on the memory of messages that are received at once, whoever sends them.

A small message is received at any time. A larger one waits for the lane, which one connection has at a time from there
until its answer; the kernel holds back the peers that wait. Whoever has it and does not finish sending is hung up on as
soon as another needs it.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

SMALL = 4 * 2**20
"""Bytes of a message that need no lane: three raw pictures of 640 × 480 are 2.7 MB."""

PATIENCE = 10.0
"""s in which a large message must have come, once another peer waits to send one."""

_LARGEST_WAIT = 1.0  # s between two looks at the peer that has the lane
_OVERHEAD = 2**20  # bytes of a message's frames, and of the next message that came along


class Lane:
    """Permission to receive a large message, which one connection has at a time. Safe to use from several threads.

    Args:
        patience: seconds after which a peer that is still sending makes room for one that waits.
        clock: steady seconds.
    """

    def __init__(self, *, patience: float | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._patience = PATIENCE if patience is None else patience
        self._clock = clock
        self.changed = threading.Condition()
        self._user: MeteredSocket | None = None
        self._sending_since: float | None = None  # None once its message is whole

    def enter(self, peer: MeteredSocket) -> None:
        """Wait for the lane and take it, unless the peer is gone meanwhile."""
        with self.changed:
            while self._user not in (None, peer) and not peer.closed:
                left = _LARGEST_WAIT
                if self._sending_since is not None:
                    left = self._sending_since + self._patience - self._clock()
                if left <= 0 and self._user is not None:
                    self._user.hang_up()
                    break
                self.changed.wait(min(left, _LARGEST_WAIT))
            if self._user is not peer and not peer.closed:
                self._user, self._sending_since = peer, self._clock()

    def whole(self, peer: MeteredSocket) -> None:
        """Note that the peer's message has come; what takes time from here on is the answer."""
        with self.changed:
            if self._user is peer:
                self._sending_since = None

    def leave(self, peer: MeteredSocket) -> None:
        """Give the lane back, where the peer has it."""
        with self.changed:
            if self._user is peer:
                self._user = None
            self.changed.notify_all()


class MeteredSocket:
    """A connection's socket that counts what it receives for one message. It has all else of the socket itself.

    Args:
        connected: the socket.
        lane: shared by all connections.
        largest: bytes of the largest message; more than one at a time are left in the kernel.
        is_open: whether messages are kept; what comes later, for instance the rest of one that is too large, is not.
    """

    def __init__(
        self, connected: socket.socket, lane: Lane, largest: int, is_open: Callable[[], bool]
    ) -> None:
        self._socket, self._lane, self._largest = connected, lane, largest + _OVERHEAD
        self._is_open = is_open
        self._received = 0
        self._closed = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._socket, name)

    @property
    def closed(self) -> bool:
        """Return whether nothing that comes is kept any more."""
        return self._closed or not self._is_open()

    def recv(self, size: int) -> bytes:
        """Receive bytes once there is room for them; none where the connection is closed."""
        with self._lane.changed:
            while self._received >= self._largest and not self.closed:
                self._lane.changed.wait(_LARGEST_WAIT)
        if self._received >= SMALL and not self.closed:
            self._lane.enter(self)
        if self.closed:
            self.settle()
        data = self._socket.recv(size)
        self._received += len(data)
        return data

    def whole(self) -> None:
        """Note that a message has come."""
        self._lane.whole(self)

    def settle(self) -> None:
        """Note that the message is answered, and its memory is free."""
        self._received = 0
        self._lane.leave(self)

    def hang_up(self) -> None:
        """End the connection; whoever reads or writes notices."""
        self._closed = True
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the socket."""
        self._closed = True
        self.settle()
        self._socket.close()
