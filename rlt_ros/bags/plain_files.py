"""Readable files of a bag: decompressed ones, and SQLite files merged with their journal.

A killed recorder leaves a journal next to an SQLite file: a write-ahead log (``-wal``) with messages that are not yet
in the file, or a rollback journal (``-journal``) of half-overwritten pages. SQLite applies it only to writable files,
so both are copied and the originals stay unchanged.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import struct
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from rlt_ros.bags.bag_records import Fault

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

SQLITE_MAGIC = b"SQLite format 3\0"
ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"

_WAL, _JOURNAL = "-wal", "-journal"
_WAL_HEADER, _FRAME_HEADER = 32, 24
"""Bytes; a log is one header, then a header and a page per frame."""
_SQLITE_HEADER = 100
"""Bytes."""
_BLOCK = 2**20
"""Bytes per decompression step."""


@contextmanager
def open_plain(file: Path, work: Path | None, fault: Fault) -> Iterator[Path]:
    """Path of the file, or of a temporary one with all of its messages, valid inside the context.

    Args:
        file: file of a bag, identified by its first bytes.
        work: folder of temporary files; the system's by default.
        fault: called with each unreadable part.
    """
    journals = [journal for journal in _journals(file) if _size(journal)]
    compressed = first_bytes(file, len(ZSTD_MAGIC)) == ZSTD_MAGIC
    torn = _torn_bytes(file)
    if not (compressed or journals or torn):
        yield file
        return
    if work is not None:
        work.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".bag-", dir=work) as folder:
        target = Path(folder) / file.name.removesuffix(".zstd")
        if compressed:
            _decompress(file, target, fault)
        else:
            shutil.copyfile(file, target)
        if journals:
            _merge(target, journals, fault)
        if torn := _torn_bytes(target):
            fault(f"it is cut off: {torn} bytes of a page at its end were left out")
            os.truncate(target, target.stat().st_size - torn)
        yield target


def first_bytes(file: Path, count: int) -> bytes:
    """First bytes of a file."""
    with file.open("rb") as stream:
        return stream.read(count)


def _journals(file: Path) -> list[Path]:
    """Possible paths of an SQLite file's journals."""
    if not file.name.endswith(".db3"):
        return []
    return [file.with_name(file.name + end) for end in (_WAL, _JOURNAL)]


def _size(file: Path) -> int:
    return file.stat().st_size if file.is_file() else 0


def _torn_bytes(file: Path) -> int:
    """Bytes of an incomplete page at the end of an SQLite file, which SQLite would pad with zeros."""
    header = first_bytes(file, _SQLITE_HEADER)
    if len(header) < _SQLITE_HEADER or not header.startswith(SQLITE_MAGIC):
        return 0
    page = struct.unpack_from(">H", header, len(SQLITE_MAGIC))[0]
    # 1 means 65536, which does not fit into the field.
    return file.stat().st_size % (2**16 if page == 1 else max(page, 1))


def _decompress(file: Path, target: Path, fault: Fault) -> None:
    """Decompress a file, or the part before a damage."""
    reader = zstd.ZstdDecompressor()
    with file.open("rb") as source, target.open("wb") as stream:
        incomplete = False
        try:
            while data := source.read(_BLOCK):
                while data:
                    stream.write(reader.decompress(data))
                    incomplete, data = not reader.eof, reader.unused_data
                    # Frames may follow each other.
                    reader = reader if incomplete else zstd.ZstdDecompressor()
        except zstd.ZstdError as error:
            fault(f"{error}; messages before it were read")
            return
        if incomplete:
            fault("it is cut off; messages before the end were read")


def _merge(file: Path, journals: list[Path], fault: Fault) -> None:
    """Merge journals into a copy of their SQLite file."""
    for journal in journals:
        shutil.copyfile(journal, file.with_name(journal.name))
    names = " and ".join(journal.name for journal in journals)
    with closing(sqlite3.connect(file)) as copy:
        try:
            _, frames, _ = copy.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        except sqlite3.Error as error:
            fault(f"{names} next to it cannot be merged ({error}); its messages were not read")
            return
    lost = ""
    if journals[0].name.endswith(_WAL):
        written = _written_frames(journals[0])
        if frames < written:
            lost = (
                f"; {max(frames, 0)} of its {written} pages were usable: the last write is incomplete, or the file is "
                "damaged"
            )
    fault(f"its recorder did not finish: {names} next to it was merged{lost}")


def _written_frames(log: Path) -> int:
    """Frames of a write-ahead log, including an incomplete last one, without those of earlier uses of the log."""
    with log.open("rb") as stream:
        header = stream.read(_WAL_HEADER)
        if len(header) < _WAL_HEADER:
            return 1
        page = struct.unpack_from(">I", header, 8)[0]
        frames = 0
        while len(head := stream.read(_FRAME_HEADER)) == _FRAME_HEADER and head[8:16] == header[16:24]:
            stream.seek(page, 1)
            frames += 1
    return max(frames, 1)
