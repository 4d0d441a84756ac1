"""Reads an MCAP file from its beginning, without the index that a recorder which was killed never wrote.

The format is that of https://mcap.dev/spec: records of an opcode, a length and as many bytes; messages lie in chunks.
What lies before the damage is read, the rest is said to be missing.
"""

from __future__ import annotations

import struct
import sys
import zlib
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, NamedTuple

import lz4.frame  # type: ignore[import-untyped]

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

_MAGIC = b"\x89MCAP0\r\n"
_FOOTER, _SCHEMA, _CHANNEL, _MESSAGE, _CHUNK, _DATA_END = 0x02, 0x03, 0x04, 0x05, 0x06, 0x0F


class Damage(Exception):
    """The file goes no further; the message says where and why."""


class Channel(NamedTuple):
    """A topic of the file: its name, message type, and that type's definition."""

    topic: str
    type: str
    definition: str


class Scanned(NamedTuple):
    """A message: when it was recorded, ns, and its bytes."""

    channel: Channel
    time: int
    data: bytes


def scan(path: Path) -> Iterator[Scanned]:
    """Messages in the order of the file; those of a chunk in the order of time.

    Raises:
        Damage: after the last message that can be read, where the file does not end as it should.
    """
    with path.open("rb") as file:
        if file.read(len(_MAGIC)) != _MAGIC:
            raise Damage("it does not begin as an MCAP file does")
        yield from _Scan(file, path.stat().st_size).messages()


class _Scan:
    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file, self._size = file, size
        self._schemas: dict[int, tuple[str, str]] = {}
        self._channels: dict[int, Channel] = {}

    def messages(self) -> Iterator[Scanned]:
        while True:
            place = self._file.tell()
            head = self._file.read(9)
            if len(head) < 9:
                raise Damage(f"it is cut off after {place} bytes")
            opcode, length = struct.unpack("<BQ", head)
            if opcode in (_FOOTER, _DATA_END):
                return
            whole = length <= self._size - place - 9
            if not whole and opcode != _CHUNK:
                raise Damage(f"it is cut off in the record at byte {place}")
            body = self._file.read(min(length, self._size - place - 9))
            try:
                yield from self._record(opcode, body)
            except (struct.error, KeyError, ValueError, RuntimeError, EOFError, zstd.ZstdError) as error:
                where = "it is cut off in" if not whole else f"{error} in"
                raise Damage(f"{where} the record at byte {place}") from error
            if not whole:
                raise Damage(f"it is cut off in the record at byte {place}")

    def _record(self, opcode: int, body: bytes) -> Iterator[Scanned]:
        if opcode == _CHUNK:
            yield from self._chunk(body)
        elif opcode == _MESSAGE:
            yield self._message(body)
        elif opcode == _SCHEMA:
            data = BytesIO(body[2:])
            name, _encoding, definition = _text(data), _text(data), _text(data)
            self._schemas[_u16(body)] = (name, definition)
        elif opcode == _CHANNEL:
            name, definition = self._schemas.get(_u16(body[2:]), ("", ""))
            self._channels[_u16(body)] = Channel(_text(BytesIO(body[4:])), name, definition)

    def _message(self, body: bytes) -> Scanned:
        number, _, when, _ = struct.unpack_from("<HIQQ", body)
        return Scanned(self._channels[number], when, body[22:])

    def _chunk(self, body: bytes) -> Iterator[Scanned]:
        """Messages of a chunk. One that is cut off and not compressed gives those that are whole."""
        *_, size, crc = struct.unpack_from("<QQQI", body)
        data = BytesIO(body[28:])
        compression = _text(data)
        stored = struct.unpack("<Q", data.read(8))[0]
        records = data.read()
        is_whole = len(records) == stored
        if compression == "zstd":
            records = zstd.decompress(records)
        elif compression == "lz4":
            records = lz4.frame.decompress(records)
        elif compression:
            raise ValueError(f"compression `{compression}` is unknown")
        if is_whole and (len(records) != size or (crc and zlib.crc32(records) != crc)):
            raise ValueError("a chunk is not what its checksum says")
        found: list[Scanned] = []
        place = 0
        while place + 9 <= len(records):
            opcode, length = struct.unpack_from("<BQ", records, place)
            if place + 9 + length > len(records):
                break
            found += self._record(opcode, records[place + 9 : place + 9 + length]) if opcode != _CHUNK else ()
            place += 9 + length
        yield from sorted(found, key=lambda one: one.time)


def _text(data: BytesIO) -> str:
    length = struct.unpack("<I", data.read(4))[0]
    return data.read(length).decode()


def _u16(data: bytes) -> int:
    return int(struct.unpack_from("<H", data)[0])
