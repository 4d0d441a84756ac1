"""Hostile peers: each gets one sentence, and the next peer is served."""

from __future__ import annotations

import contextlib
import math
import socket
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from rlt_ros.perception.compressed import decode_file
from rlt_ros.perception.pictures import MAX_SIDE, PictureError
from rlt_ros.serving.errors import RequestError
from rlt_ros.serving.pictures import from_array
from rlt_ros.serving.slots import ConnectionSlots
from rlt_ros.serving.vectors import read_vector
from rlt_ros.serving.websocket import WebSocketServer
from rlt_ros.store.parameters import ConfigError
from rlt_ros.vla.access import access_headers, read_access_token
from rlt_ros.vla.wire import WireError, pack, unpack
from rlt_ros.vla.wire_scan import MAX_DEPTH, MAX_ITEMS

LIMIT = 2**26
TOKEN = "0123456789abcdef"


class Echo:
    """A session that answers with the vector that it was sent, and fails on a text of its own."""

    def greeting(self) -> bytes:
        return b"hello"

    def answer(self, message: bytes | str) -> bytes:
        if message == "fail":
            raise OverflowError("deep inside")
        try:
            fields = unpack(message, limit=LIMIT)
        except WireError as error:
            raise RequestError(str(error)) from error
        return pack(read_vector(fields.get("state") if isinstance(fields, dict) else None, "state"))

    def refusal(self, reason: str) -> str:
        return reason


@contextlib.contextmanager
def _serving(**settings: Any) -> Iterator[WebSocketServer]:
    server = WebSocketServer(Echo, **settings)
    server.start()
    try:
        yield server
    finally:
        server.close()


@contextlib.contextmanager
def _client(server: WebSocketServer, **settings: Any) -> Iterator[ClientConnection]:
    address = f"ws://127.0.0.1:{server.port}"
    with connect(address, compression=None, proxy=None, close_timeout=0.1, **settings) as client:
        assert client.recv(timeout=30) == b"hello"
        yield client


def _serves(client: ClientConnection) -> bool:
    client.send(pack({"state": np.ones(3)}))
    reply = client.recv(timeout=30)
    return isinstance(reply, bytes) and np.array_equal(unpack(reply, limit=LIMIT), np.ones(3))


def _array(**fields: Any) -> bytes:
    whole = {"__ndarray__": True, "data": b"\0" * 8, "dtype": "<f8", "shape": [1], **fields}
    packed: bytes = msgpack.packb({"state": {key.encode(): value for key, value in whole.items()}})
    return packed


HOSTILE: list[bytes | str] = [
    b"\x91" * (MAX_DEPTH + 1) + b"\x90",
    b"\x81\xa1a" * 500 + b"\x90",
    b"\xdd" + struct.pack(">I", MAX_ITEMS) + b"\x80" * MAX_ITEMS,
    b"\xdf\xff\xff\xff\xff",
    b"\xc6\xff\xff\xff\xff" + b"x",
    b"\xc9\xff\xff\xff\xff\x05" + b"x" * 100,
    b"\xd6\xff\x00\x00\x00\x01",
    b"\xc1",
    _array(dtype="(,)f4"),
    _array(dtype="f4,f4"),
    _array(dtype="("),
    _array(dtype="f8\0"),
    _array(dtype="U1"),
    _array(dtype="M8[ns]"),
    _array(shape=[-1]),
    _array(shape=[2**63, 0], data=b""),
    _array(shape=[1] * 65),
    _array(shape=[], data=b"\0" * 8),
    msgpack.packb({"state": {b"__npgeneric__": True, b"data": 300, b"dtype": "i1"}}),
    msgpack.packb({"state": {b"__npgeneric__": True, b"data": [1], b"dtype": "f4"}}),
    msgpack.packb({"state": ["nan", "inf"]}),
    msgpack.packb({"state": ["1", "2"]}),
    msgpack.packb({"state": [math.nan]}),
    msgpack.packb({"state": [1e30]}),
    msgpack.packb({"state": [[1.0], [1.0, 2.0]]}),
    msgpack.packb({"state": [True, False]}),
    "text",
    "fail",
]


def test_every_hostile_message_gets_a_sentence_and_the_connection_stays() -> None:
    with _serving() as server, _client(server) as client:
        for message in HOSTILE:
            client.send(message)
            reply = client.recv(timeout=30)
            assert isinstance(reply, str), message[:40]
            assert 0 < len(reply) <= 1000
            assert "\n" not in reply
        assert _serves(client)
        assert server.refused == len(HOSTILE)


@given(
    st.recursive(
        st.none()
        | st.integers(-(2**63), 2**64 - 1)
        | st.floats()
        | st.text(max_size=4)
        | st.binary(max_size=4),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=2), inner, max_size=3),
        max_leaves=12,
    )
)
def test_whatever_msgpack_writes_is_read_or_refused(value: Any) -> None:
    with contextlib.suppress(WireError):
        found = unpack(msgpack.packb(value), limit=LIMIT)
        assert repr(found) == repr(msgpack.unpackb(msgpack.packb(value)))


@given(st.binary(max_size=60), st.integers(0, 59), st.binary(min_size=1, max_size=3))
def test_a_damaged_observation_is_read_or_refused(data: bytes, at: int, put: bytes) -> None:
    whole = bytearray(pack({"state": np.ones(4), "blob": data}))
    whole[at : at + len(put)] = put
    with contextlib.suppress(WireError, RequestError):
        fields = unpack(bytes(whole), limit=LIMIT)
        read_vector(fields["state"] if isinstance(fields, dict) and "state" in fields else None, "state")


@given(st.lists(st.floats() | st.integers(), max_size=4))
def test_a_vector_that_is_read_is_within_the_stated_range(values: list[float]) -> None:
    with contextlib.suppress(RequestError):
        assert np.abs(read_vector(values, "state")).max() <= 1e4


def test_a_message_in_endless_fragments_ends_its_connection_alone() -> None:
    with _serving(connections=1, idle=0.0) as server:
        with _client(server) as client, pytest.raises(ConnectionClosed):
            client.send(b"" for _ in range(5000))
            client.recv(timeout=30)
        with _client(server) as next_client:
            assert _serves(next_client)


def test_text_that_is_no_text_and_frames_that_are_too_large_end_their_connection_alone() -> None:
    with _serving(connections=1, idle=0.0, max_bytes=2**16) as server:
        for message, text in ((b"\xff\xfe", True), (b"\0" * (2**16 + 1), False)):
            with _client(server) as client, pytest.raises(ConnectionClosed):
                client.send(message, text=text)
                client.recv(timeout=30)
        with _client(server) as client:
            assert _serves(client)


@pytest.mark.parametrize("words", [b"", b"\x82\x7e\xff\xff123", b"\x02\x01a"])
def test_a_silent_or_half_speaking_peer_makes_room_for_one_that_waits(words: bytes) -> None:
    with _serving(connections=1, idle=0.0) as server, _client(server) as silent:
        silent.socket.sendall(words)
        with _client(server) as client:
            assert _serves(client)


def test_a_peer_that_speaks_keeps_its_place() -> None:
    with _serving(connections=1, idle=3600.0) as server, _client(server) as client:
        with pytest.raises(ConnectionClosed, match="places are taken"), _client(server):
            pass
        assert _serves(client)


def test_half_handshakes_keep_nobody_out() -> None:
    with _serving(connections=1, handshake=5.0) as server, contextlib.ExitStack() as open_sockets:
        for _ in range(50):
            half = open_sockets.enter_context(socket.create_connection(("127.0.0.1", server.port)))
            half.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n")
        with _client(server) as client:
            assert _serves(client)


def test_pages_of_a_browser_are_refused() -> None:
    with (
        _serving() as server,
        pytest.raises(InvalidStatus) as caught,
        _client(server, origin="http://evil.example"),
    ):
        pass
    assert caught.value.response.status_code == 403


@pytest.mark.parametrize(
    "headers",
    [
        {},
        access_headers(TOKEN[:-1]),
        {"Authorization": TOKEN},
        {"Authorization": f"Basic {TOKEN}"},
        {"Authorization": "Bearer é"},
    ],
)
def test_a_peer_without_the_access_token_is_refused(headers: dict[str, str]) -> None:
    with _serving(access_token=TOKEN) as server:
        with pytest.raises(InvalidStatus) as caught, _client(server, additional_headers=headers):
            pass
        assert caught.value.response.status_code == 401
        with _client(server, additional_headers=access_headers(TOKEN)) as client:
            assert _serves(client)


@pytest.mark.parametrize(
    ("content", "mode", "message"),
    [
        (TOKEN, 0o644, "chmod 600"),
        ("short", 0o600, "16 to 512"),
        ("é" * 20, 0o600, "no access token"),
        ("", 0o600, "16"),
    ],
)
def test_a_file_that_holds_no_secret_is_refused(
    tmp_path: Path, content: str, mode: int, message: str
) -> None:
    path = tmp_path / "token"
    path.write_text(content, encoding="utf-8")
    path.chmod(mode)
    with pytest.raises(ConfigError, match=message):
        read_access_token(path)


def test_places_are_never_more_than_there_are() -> None:
    now = 0.0
    slots = ConnectionSlots(2, idle=10.0, leaving=0.0, clock=lambda: now)
    left: list[str] = []
    first = slots.acquire(lambda: left.append("first"))
    second = slots.acquire(lambda: left.append("second"))
    assert first is not None
    assert second is not None
    now = 9.0
    assert slots.acquire(lambda: None) is None
    slots.mark_silent(first)
    slots.mark_busy(second)
    now = 18.0
    # One spoke 9 s ago, the other waits for an answer.
    assert slots.acquire(lambda: None) is None
    assert left == []
    now = 19.0
    # It was hung up on, and has not left yet.
    assert slots.acquire(lambda: None) is None
    assert left == ["first"]
    slots.release(first)
    assert slots.acquire(lambda: None) is not None


def _png(width: int, height: int) -> bytes:
    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"x\x9c") + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    "data",
    [
        _png(1, 7_000_000),
        _png(2**31 - 1, 2**31 - 1),
        _png(4096, 4096),
        b"\xff\xd8\xff\xc0\x00\x11\x08\xff\xff\xff\xff\x03\x01\x11\x00\x02\x11\x00\x03\x11\x00\xff\xd9",
        b"RIFF\xff\xff\xff\xffWEBPVP8X\x0a\0\0\0\0\0\0\0\xff\xff\xff\xff\xff\xff",
        b"\0\0\0\x20ftypavif\0\0\0\0avifmif1miaf" + b"\xff" * 40,
    ],
)
def test_a_picture_that_claims_too_much_is_refused_before_it_is_decoded(data: bytes) -> None:
    with pytest.raises(PictureError):
        decode_file(data, (64, 64))


@settings(max_examples=30)
@given(st.integers(0, 3).map(lambda n: 10**n), st.integers(1, 4))
def test_an_array_is_a_picture_within_the_bounds_or_an_error(height: int, channels: int) -> None:
    width = MAX_SIDE + 1
    with pytest.raises(RequestError):
        from_array(np.broadcast_to(np.uint8(0), (height, width, channels)), (8, 8), name="head")
