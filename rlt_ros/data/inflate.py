"""A gzip stream of any length as exact reads: bounded memory, and an error that says which part is damaged where."""

from __future__ import annotations

import zlib
from collections.abc import Generator, Iterator

from rlt_ros.data.errors import DamagedArchiveError, OversizeError
from rlt_ros.data.parts import Archive, PartReader

_READ = 1 << 18  # compressed bytes at a time
_INFLATE = 1 << 22  # bytes that one step may inflate to, whatever the ratio
_GZIP = 31  # window bits that mean gzip, with its checksum verified
_MAGIC = b"\x1f\x8b"

RATIO_WINDOW = 1 << 28
"""Inflated bytes over which the ratio is watched. Deflate reaches 1030; pictures, videos and joint values stay below
10, and a run of zeros this long is no recording."""
MAX_RATIO = 200


class InflatedReader:
    """The inflated bytes of an archive. One that is not compressed is passed through.

    Attributes:
        offset: position in the inflated stream.
    """

    def __init__(self, archive: Archive) -> None:
        self.archive = archive
        self.offset = 0
        self._parts = PartReader(archive)
        self._chunks = self._inflate()
        self._chunk = memoryview(b"")
        self._watched_in = self._watched_out = 0

    @property
    def compressed_offset(self) -> int:
        """Bytes read of the joined parts."""
        return self._parts.offset

    def pieces(self, count: int) -> Iterator[memoryview]:
        """The next ``count`` bytes in pieces as they come.

        Raises:
            DamagedArchiveError: the stream ends before, or is no gzip stream.
            MissingPartError: a part is not there.
            OversizeError: it inflates beyond reason.
        """
        while count > 0:
            if not self._chunk and not self._next():
                raise DamagedArchiveError(
                    f"{self.archive.stem}: ends {count} bytes too early, at {self.where()}; its last parts are "
                    "missing or cut off, fetch them again"
                )
            piece = self._chunk[:count]
            self._chunk = self._chunk[len(piece) :]
            self.offset += len(piece)
            count -= len(piece)
            yield piece

    def take(self, count: int) -> bytes:
        """Exactly the next ``count`` bytes; for small counts."""
        return b"".join(self.pieces(count))

    def skip(self, count: int) -> None:
        """Pass over the next ``count`` bytes."""
        for _ in self.pieces(count):
            pass

    def at_end(self) -> bool:
        """Return whether no byte is left."""
        return not self._chunk and not self._next()

    def where(self) -> str:
        """Where the reading is, in words."""
        return self.archive.locate(self._parts.offset)

    def close(self) -> None:
        """Close the parts."""
        self._parts.close()

    def _next(self) -> bool:
        for chunk in self._chunks:
            if chunk:
                self._chunk = memoryview(chunk)
                return True
        return False

    def _inflate(self) -> Iterator[bytes]:
        data = self._parts.read(_READ)
        if not data.startswith(_MAGIC):
            yield from self._plain(data)
            return
        while data:
            member = zlib.decompressobj(_GZIP)
            data = yield from self._member(member, data)
            data = (data or self._parts.read(_READ)).lstrip(b"\0")  # padding to a block of the tape drive
            if data and not data.startswith(_MAGIC[: len(data)]):
                raise self._damaged("what follows is no gzip member")

    def _plain(self, data: bytes) -> Iterator[bytes]:
        while data:
            yield data
            data = self._parts.read(_READ)

    def _member(self, member: zlib._Decompress, data: bytes) -> Generator[bytes, None, bytes]:
        """Inflate one member; returns what follows it."""
        while not member.eof:
            if not data:
                raise DamagedArchiveError(
                    f"{self.archive.stem}: the gzip stream ends in the middle, after {self.where()}"
                    f"{self.archive.hint()}; the last part is cut off, or parts with higher numbers are missing: "
                    "fetch them and run the same command again"
                )
            try:
                chunk = member.decompress(data, _INFLATE)
            except zlib.error as error:
                raise self._damaged(str(error)) from None
            yield chunk
            self._watch(len(data) - len(member.unconsumed_tail) - len(member.unused_data), len(chunk))
            data = member.unconsumed_tail or (b"" if member.eof else self._parts.read(_READ))
        return member.unused_data

    def _watch(self, inflated: int, to: int) -> None:
        """Note that so many bytes inflated to so many, whichever member they are of: many small bombs are one."""
        self._watched_in, self._watched_out = self._watched_in + inflated, self._watched_out + to
        if self._watched_out <= RATIO_WINDOW:
            return
        if self._watched_out > MAX_RATIO * self._watched_in:
            raise OversizeError(
                f"{self.archive.stem}: at {self.where()} {self._watched_in} bytes inflate to {self._watched_out}; no "
                "recording does that, so the archive is not read further. Get it from another source"
            )
        self._watched_in = self._watched_out = 0

    def _damaged(self, why: str) -> DamagedArchiveError:
        return DamagedArchiveError(
            f"{self.archive.stem}: damaged at or shortly before {self.where()} (byte {self._parts.offset} of the "
            f"whole): {why}{self.archive.hint()}; fetch that part again and run the same command again"
        )
