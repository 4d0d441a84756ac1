"""Peers that send the largest messages at once: memory is bounded, each is answered, and none waits for a slow one."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from rlt_ros.serving import receive_lock
from rlt_ros.serving.receive_lock import SMALL, MeteredSocket, ReceiveLock
from rlt_ros.serving.websocket import WebSocketServer

PEERS = 4
LARGE = SMALL + 2**20


class Length:
    """Session that answers with the message's length, and counts simultaneous large messages."""

    def __init__(self) -> None:
        self.now = self.most = 0
        self._lock = threading.Lock()

    def greeting(self) -> bytes | None:
        return None

    def answer(self, message: bytes | str) -> str:
        with self._lock:
            self.now += len(message) > SMALL
            self.most = max(self.most, self.now)
        try:
            return str(len(message))
        finally:
            with self._lock:
                self.now -= len(message) > SMALL

    def refusal(self, reason: str) -> str:
        return reason


@contextlib.contextmanager
def serving(**settings: Any) -> Iterator[tuple[WebSocketServer, Length]]:
    session = Length()
    server = WebSocketServer(lambda: session, **settings)
    server.start()
    try:
        yield server, session
    finally:
        server.close()


def client(server: WebSocketServer) -> ClientConnection:
    return connect(f"ws://127.0.0.1:{server.port}", compression=None, proxy=None, close_timeout=0.1)


def half_a_message(server: WebSocketServer) -> socket.socket:
    """A peer that announces a large message and sends nearly all of it."""
    peer = socket.create_connection(("127.0.0.1", server.port))
    peer.sendall(
        b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    peer.recv(1000)
    peer.sendall(b"\x82\xff" + struct.pack(">Q", LARGE) + b"\0" * 4 + b"x" * (LARGE - 1))
    return peer


def test_large_messages_come_one_at_a_time_and_all_are_answered() -> None:
    with serving() as (server, session), ThreadPoolExecutor(PEERS) as pool:

        def ask(_: int) -> list[str | bytes]:
            with client(server) as peer:
                replies = []
                for size in (LARGE, 1000, LARGE):
                    peer.send(b"x" * size)
                    replies.append(peer.recv(timeout=60))
                return replies

        assert list(pool.map(ask, range(PEERS))) == [[str(LARGE), "1000", str(LARGE)]] * PEERS
        assert session.most == 1


def test_many_large_messages_without_waiting_for_answers_are_answered() -> None:
    with serving(max_bytes=LARGE) as (server, _), client(server) as peer:
        for _ in range(5):
            peer.send(b"x" * LARGE)
        assert [peer.recv(timeout=60) for _ in range(5)] == [str(LARGE)] * 5


def test_a_message_that_is_too_large_is_refused_at_once_and_leaves_the_lane() -> None:
    with serving(max_bytes=LARGE) as (server, _):
        with client(server) as peer, pytest.raises(ConnectionClosed):
            peer.send(b"x" * (3 * LARGE))
            peer.recv(timeout=60)
        with client(server) as peer:
            peer.send(b"x" * LARGE)
            assert peer.recv(timeout=60) == str(LARGE)


def test_a_peer_that_stops_in_a_large_message_makes_room_for_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(receive_lock, "PATIENCE", 0.1)
    with serving() as (server, _), contextlib.closing(half_a_message(server)) as slow:
        with client(server) as peer:
            peer.send(b"x" * 1000)
            assert peer.recv(timeout=60) == "1000"
            peer.send(b"x" * LARGE)
            assert peer.recv(timeout=60) == str(LARGE)
        slow.settimeout(60)
        with contextlib.suppress(ConnectionError):
            while slow.recv(1000):
                pass


def test_a_peer_whose_answer_takes_long_keeps_the_lane() -> None:
    lock = ReceiveLock(patience=0.0)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        first, second = (MeteredSocket(one, lock, 2**30, lambda: True) for one in (ours, theirs))
        lock.acquire(first)
        first.message_received()
        waiter = threading.Thread(target=lock.acquire, args=[second])
        waiter.start()
        assert not first.closed
        first.message_answered()
        waiter.join()
        assert not first.closed
        lock.acquire(first)
        assert second.closed
