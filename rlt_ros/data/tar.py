"""Members of a tar archive, read forwards once, restricted to the needs of data sets.

Headers are ustar with the extensions of GNU tar and pax (POSIX.1-2001): long names and large sizes. Only plain files
with harmless names are returned; links, devices and names that lead elsewhere are left out and counted. Nothing is
written here, and no name in an archive becomes a path.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import BinaryIO

from rlt_ros.data.errors import DamagedArchiveError, OversizeError, Skips
from rlt_ros.data.inflate import InflatedReader

BLOCK = 512
MAX_MEMBER = 64 << 30
"""Largest file in an archive, far above the longest recording."""
# Bytes of a long name or of pax records.
_MAX_HEADER = 1 << 20
_MAX_NAME = 1024
_ZEROS = bytes(BLOCK)
_FILE, _FOLDER = (b"0", b"\0", b"7"), b"5"
_GNU_NAME, _GNU_LINK, _PAX, _PAX_GLOBAL = b"L", b"K", b"x", b"g"
_KINDS = {
    b"1": "a hard link",
    b"2": "a symbolic link",
    b"3": "a character device",
    b"4": "a block device",
    b"6": "a pipe",
    b"S": "a sparse file",
}
_RECORD = re.compile(rb"^(\d{1,7}) ")


@dataclass
class Member:
    """File of an archive at the reader's position. Its bytes can be read once, before the next member."""

    name: str
    """Relative path with ``/``, free of ``.`` and ``..``."""
    size: int
    _source: InflatedReader
    _left: int

    def read(self, *, limit: int) -> bytes:
        """Read all bytes.

        Raises:
            OversizeError: the member exceeds ``limit``.
        """
        if self.size > limit:
            raise OversizeError(
                f"{self.name}: has {self.size} bytes, more than the limit of {limit} for such a file"
            )
        self._left = 0
        return self._source.take(self.size)

    def copy_to(self, stream: BinaryIO) -> None:
        """Write all bytes to an open file."""
        self._left = 0
        for piece in self._source.pieces(self.size):
            stream.write(piece)

    def checksum(self) -> int:
        """CRC-32 of all bytes, which are consumed."""
        self._left, value = 0, 0
        for piece in self._source.pieces(self.size):
            value = zlib.crc32(piece, value)
        return value

    def skip(self) -> None:
        """Skip the remaining bytes."""
        left, self._left = self._left, 0
        self._source.skip(left)


def members(source: InflatedReader, rejected: Skips) -> Iterator[Member]:
    """Yield the plain files of a tar stream in their order.

    Args:
        source: the stream, at the start of a tar archive.
        rejected: counter of omitted members.

    Raises:
        DamagedArchiveError: an invalid header, or the end of the stream inside a member.
        OversizeError: a member or a header exceeds the limits of data sets.
    """
    name: str | None = None
    size: int | None = None
    while not source.at_end():
        start = source.offset
        header = source.take(BLOCK)
        if header == _ZEROS:
            return
        length = _number(header[124:136], source, start)
        _check_sum(header, source, start)
        kind = header[156:157]
        if kind in (_GNU_NAME, _GNU_LINK, _PAX, _PAX_GLOBAL):
            if length > _MAX_HEADER:
                raise OversizeError(f"{source.archive.stem}: a header at {source.where()} has {length} bytes")
            extension = source.take(_padded(length))[:length]
            if kind == _GNU_NAME:
                name = extension.split(b"\0", 1)[0].decode("utf-8", "replace")
            elif kind == _PAX:
                name, size = _pax(extension, name, size, source)
            continue
        length = length if size is None else size
        path = name if name is not None else _ustar_name(header)
        name = size = None
        if length > MAX_MEMBER:
            raise OversizeError(
                f"{source.archive.stem}: {path!r} claims {length} bytes; no recording is as large"
            )
        if kind == _FOLDER:
            source.skip(_padded(length))
            continue
        why = f"is {_KINDS.get(kind, 'of an unknown kind')}" if kind not in _FILE else _unsafe(path)
        if why:
            rejected.add(why, path[:200])
            source.skip(_padded(length) if kind not in (b"1", b"2", b"3", b"4", b"6") else 0)
            continue
        member = Member(str(PurePosixPath(path)), length, source, length)
        yield member
        member.skip()
        source.skip(_padded(length) - length)


def _unsafe(path: str) -> str:
    """Reason for refusing a name; empty for a harmless one."""
    if not path or len(path) > _MAX_NAME:
        return f"has a name of {len(path)} characters"
    if path.startswith("/") or re.match(r"^[A-Za-z]:", path) or "\\" in path:
        return "has an absolute name, or one with a backslash"
    if ".." in path.split("/"):
        return "has a name that leads out of its folder"
    if any(ord(character) < 32 or character in "\x7f�" for character in path):
        return "has a name with control characters"
    return ""


def _ustar_name(header: bytes) -> str:
    name = header[:100].split(b"\0", 1)[0]
    if header[257:263] == b"ustar\0":
        prefix = header[345:500].split(b"\0", 1)[0]
        name = prefix + b"/" + name if prefix else name
    return name.decode("utf-8", "replace")


def _pax(
    records: bytes, name: str | None, size: int | None, source: InflatedReader
) -> tuple[str | None, int | None]:
    """Name and size of the next member from pax records ``length key=value``."""
    while records:
        match = _RECORD.match(records)
        length = int(match[1]) if match else 0
        record = records[match.end() : length] if match else b""
        key, equals, value = record.partition(b"=")
        if not match or not equals or not record.endswith(b"\n"):
            raise DamagedArchiveError(f"{source.archive.stem}: the pax header at {source.where()} is invalid")
        if key == b"path":
            name = value[:-1].decode("utf-8", "replace")
        elif key == b"size":
            if not re.fullmatch(rb"\d{1,20}\n", value):
                raise DamagedArchiveError(
                    f"{source.archive.stem}: the pax size at {source.where()} is no number"
                )
            size = int(value)
        records = records[length:]
    return name, size


def _number(field: bytes, source: InflatedReader, start: int) -> int:
    """Value of an octal field, or in base 256 as GNU tar writes sizes from 8 GiB on."""
    if field[0] == 0x80:
        return int.from_bytes(field[1:], "big")
    text = field.strip(b" \0")
    if text and not re.fullmatch(rb"[0-7]+", text):
        raise _no_header(source, start)
    return int(text or b"0", 8)


def _check_sum(header: bytes, source: InflatedReader, start: int) -> None:
    text = header[148:156].strip(b" \0")
    total = sum(header) - sum(header[148:156]) + 8 * ord(" ")
    if not re.fullmatch(rb"[0-7]+", text) or int(text, 8) != total:
        raise _no_header(source, start)


def _no_header(source: InflatedReader, start: int) -> DamagedArchiveError:
    return DamagedArchiveError(
        f"{source.archive.stem}: no tar header at byte {start} of the inflated stream, "
        f"{source.where()}{source.archive.hint()}; a part is damaged or in the wrong place, fetch it again"
    )


def _padded(size: int) -> int:
    return -(-size // BLOCK) * BLOCK
