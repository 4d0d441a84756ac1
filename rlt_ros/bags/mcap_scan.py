"""Sequential reader of MCAP files, for files without an index, such as those of a killed recorder.

Format: https://mcap.dev/spec. A record is an opcode, a length and as many bytes; messages are in chunks. Messages
before a damage are read, including those of a truncated chunk.
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

from rlt_ros.bags.bag_records import Topic

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

MAGIC = b"\x89MCAP0\r\n"
_FOOTER, _SCHEMA, _CHANNEL, _MESSAGE, _CHUNK, _DATA_END = 0x02, 0x03, 0x04, 0x05, 0x06, 0x0F


class Damage(Exception):
    """The rest of the file is unreadable; the message names place and reason."""


class ScannedMessage(NamedTuple):
    """Message of a file.

    Attributes:
        topic: without a count.
        time: recording time, ns.
        data: serialised message.
    """

    topic: Topic
    time: int
    data: bytes


def scan(path: Path) -> Iterator[ScannedMessage]:
    """Messages in the order of the file; those of a chunk, and of overlapping chunks, in the order of time.

    Raises:
        Damage: after the last readable message, if the file does not end properly.
    """
    with path.open("rb") as file:
        if file.read(len(MAGIC)) != MAGIC:
            raise Damage("it does not begin as an MCAP file does")
        yield from _Scan(file, path.stat().st_size).messages()


class _Scan:
    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file, self._size = file, size
        self._schemas: dict[int, tuple[str, str]] = {}
        self._channels: dict[int, Topic] = {}
        # Messages not earlier than the newest chunk's first one: the next chunk may contain earlier ones.
        self._held: list[ScannedMessage] = []

    def messages(self) -> Iterator[ScannedMessage]:
        while True:
            place = self._file.tell()
            head = self._file.read(9)
            if len(head) < 9:
                yield from self._held
                raise Damage(f"it is cut off after {place} bytes")
            opcode, length = struct.unpack("<BQ", head)
            if opcode in (_FOOTER, _DATA_END):
                yield from self._held
                return
            whole = length <= self._size - place - 9
            body = self._file.read(min(length, self._size - place - 9))
            where = f"the record at byte {place}"
            try:
                if whole or opcode == _CHUNK:
                    yield from self._in_order(self._record(opcode, body))
            except (struct.error, KeyError, ValueError, RuntimeError, EOFError, zstd.ZstdError) as error:
                yield from self._held
                raise Damage(f"{f'{error} in' if whole else 'it is cut off in'} {where}") from error
            if not whole:
                yield from self._held
                raise Damage(f"it is cut off in {where}")

    def _in_order(self, found: list[ScannedMessage]) -> Iterator[ScannedMessage]:
        """Release held messages that are earlier than all of ``found``, and hold the rest."""
        if found:
            first = min(message.time for message in found)
            ready = [message for message in self._held if message.time < first]
            rest = self._held[len(ready) :]
            self._held = sorted([*rest, *found], key=lambda message: message.time)
            yield from ready

    def _record(self, opcode: int, body: bytes) -> list[ScannedMessage]:
        """Messages of a record; schemas and channels are stored."""
        if opcode == _CHUNK:
            return self._chunk(body)
        if opcode == _MESSAGE:
            return [self._message(body)]
        if opcode == _SCHEMA:
            data = BytesIO(body[2:])
            name, _encoding, definition = _text(data), _text(data), _text(data)
            self._schemas[_u16(body)] = (name, definition)
        elif opcode == _CHANNEL:
            data = BytesIO(body[4:])
            name, encoding = _text(data), _text(data)
            kind, definition = self._schemas.get(_u16(body[2:]), ("", ""))
            self._channels[_u16(body)] = Topic(name, kind, 0, definition, encoding=encoding)
        return []

    def _message(self, body: bytes) -> ScannedMessage:
        number, _, time, _ = struct.unpack_from("<HIQQ", body)
        if number not in self._channels:
            raise ValueError(f"a message is of channel {number}, which is not described before it,")
        return ScannedMessage(self._channels[number], time, body[22:])

    def _chunk(self, body: bytes) -> list[ScannedMessage]:
        """Messages of a chunk; complete ones of a truncated chunk."""
        *_, size, crc = struct.unpack_from("<QQQI", body)
        data = BytesIO(body[28:])
        compression = _text(data)
        stored = struct.unpack("<Q", data.read(8))[0]
        records = data.read(stored)
        is_whole = len(records) == stored
        records = _decompress(records, compression, is_whole)
        if is_whole and (len(records) != size or (crc and zlib.crc32(records) != crc)):
            raise ValueError("a chunk does not match its checksum")
        found: list[ScannedMessage] = []
        place = 0
        while place + 9 <= len(records):
            opcode, length = struct.unpack_from("<BQ", records, place)
            if place + 9 + length > len(records):
                break
            found += self._record(opcode, records[place + 9 : place + 9 + length]) if opcode != _CHUNK else ()
            place += 9 + length
        return found


def _decompress(data: bytes, compression: str, whole: bool) -> bytes:
    """Records of a chunk; those of a truncated chunk as far as they can be decompressed."""
    if compression == "zstd":
        return zstd.decompress(data) if whole else zstd.ZstdDecompressor().decompress(data)
    if compression == "lz4":
        reader = lz4.frame.decompress if whole else lz4.frame.LZ4FrameDecompressor().decompress
        records: bytes = reader(data)
        return records
    if compression:
        raise ValueError(f"compression `{compression}` is unknown")
    return data


def _text(data: BytesIO) -> str:
    length = struct.unpack("<I", data.read(4))[0]
    return data.read(length).decode()


def _u16(data: bytes) -> int:
    return int(struct.unpack_from("<H", data)[0])
