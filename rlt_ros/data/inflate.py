"""Gzip stream of any length as exact reads: bounded memory, and errors with part and position of a damage."""

from __future__ import annotations

import zlib
from collections.abc import Generator, Iterator

from rlt_ros.data.errors import DamagedArchiveError, OversizeError
from rlt_ros.data.parts import Archive, PartReader

# Compressed bytes per read.
_READ = 1 << 18
# Inflated bytes per step, for any ratio.
_INFLATE = 1 << 22
# zlib's window bits for gzip with checksum verification.
_GZIP = 31
_MAGIC = b"\x1f\x8b"

RATIO_WINDOW = 1 << 28
"""Inflated bytes over which the ratio is measured. Deflate reaches 1030; images, videos and joint values stay below
10, and no recording contains a run of zeros this long."""
MAX_RATIO = 200


class InflatedReader:
    """Inflated bytes of an archive; an uncompressed one is passed through.

    Attributes:
        offset: position in the inflated stream.
    """

    def __init__(self, archive: Archive) -> None:
        self.archive = archive
        self.offset = 0
        self._parts = PartReader(archive)
        self._chunks = self._inflate()
        self._chunk = memoryview(b"")
        self._window_in = self._window_out = 0

    @property
    def compressed_offset(self) -> int:
        """Bytes read of the joined parts."""
        return self._parts.offset

    def pieces(self, count: int) -> Iterator[memoryview]:
        """Next ``count`` bytes in pieces of any size.

        Raises:
            DamagedArchiveError: the stream ends early, or is no gzip stream.
            MissingPartError: a part is missing.
            OversizeError: the inflation ratio is implausible.
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
        """Read exactly ``count`` bytes; for small counts."""
        return b"".join(self.pieces(count))

    def skip(self, count: int) -> None:
        """Skip ``count`` bytes."""
        for _ in self.pieces(count):
            pass

    def at_end(self) -> bool:
        """True at the end of the stream."""
        return not self._chunk and not self._next()

    def where(self) -> str:
        """Description of the current position."""
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
            # Padding to a block of a tape drive.
            data = (data or self._parts.read(_READ)).lstrip(b"\0")
            if data and not data.startswith(_MAGIC[: len(data)]):
                raise self._damaged("the following bytes are no gzip member")

    def _plain(self, data: bytes) -> Iterator[bytes]:
        while data:
            yield data
            data = self._parts.read(_READ)

    def _member(self, member: zlib._Decompress, data: bytes) -> Generator[bytes, None, bytes]:
        """Inflate one member and return the bytes after it."""
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
            self._check_ratio(len(data) - len(member.unconsumed_tail) - len(member.unused_data), len(chunk))
            data = member.unconsumed_tail or (b"" if member.eof else self._parts.read(_READ))
        return member.unused_data

    def _check_ratio(self, compressed: int, inflated: int) -> None:
        """Refuse an implausible ratio over a window of members: many small bombs are one."""
        self._window_in, self._window_out = self._window_in + compressed, self._window_out + inflated
        if self._window_out <= RATIO_WINDOW:
            return
        if self._window_out > MAX_RATIO * self._window_in:
            raise OversizeError(
                f"{self.archive.stem}: at {self.where()} {self._window_in} bytes inflate to {self._window_out}; no "
                "recording does that, so the archive is not read further. Get it from another source"
            )
        self._window_in = self._window_out = 0

    def _damaged(self, why: str) -> DamagedArchiveError:
        return DamagedArchiveError(
            f"{self.archive.stem}: damaged at or shortly before {self.where()} (byte {self._parts.offset} of the "
            f"whole): {why}{self.archive.hint()}; fetch that part again and run the same command again"
        )
