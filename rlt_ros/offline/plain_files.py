"""Files of a bag as they can be opened: compressed ones decompressed, SQLite files with a journal from a copy.

The recorder that was killed leaves a journal next to an SQLite file: a write-ahead log (``-wal``) with messages that
are not in the file yet, or a rollback journal (``-journal``) with pages that are half overwritten. SQLite takes it into
account only where it may write, so both are copied: the files of the user stay as they are.
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

from rlt_ros.offline.recorded import Fault

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

SQLITE_MAGIC = b"SQLite format 3\0"
ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"

_WAL, _JOURNAL = "-wal", "-journal"
_WAL_HEADER, _FRAME_HEADER = 32, 24
"""Bytes; a log is a header, then a header and a page per frame."""
_SQLITE_HEADER = 100
"""Bytes."""
_BLOCK = 2**20
"""Bytes that are decompressed at a time."""


@contextmanager
def plain(file: Path, work: Path | None, fault: Fault) -> Iterator[Path]:
    """The file, or one in a temporary folder with all of its messages, for as long as it is read.

    Args:
        file: of a bag; its name does not matter, its first bytes do.
        work: folder for temporary ones; the system's by default.
        fault: called with what of it cannot be read.
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
    """Paths next to an SQLite file where its journals would be."""
    if not file.name.endswith(".db3"):
        return []
    return [file.with_name(file.name + end) for end in (_WAL, _JOURNAL)]


def _size(file: Path) -> int:
    return file.stat().st_size if file.is_file() else 0


def _torn_bytes(file: Path) -> int:
    """Bytes at the end of an SQLite file that are no whole page; SQLite would take zeros for the rest of it."""
    header = first_bytes(file, _SQLITE_HEADER)
    if len(header) < _SQLITE_HEADER or not header.startswith(SQLITE_MAGIC):
        return 0
    page = struct.unpack_from(">H", header, len(SQLITE_MAGIC))[0]
    # 1 stands for 65536, which a header has no room for.
    return file.stat().st_size % (2**16 if page == 1 else max(page, 1))


def _decompress(file: Path, target: Path, fault: Fault) -> None:
    """Decompress a file; of one that is cut off or damaged what lies before."""
    reader = zstd.ZstdDecompressor()
    with file.open("rb") as source, target.open("wb") as stream:
        begun = False
        try:
            while data := source.read(_BLOCK):
                while data:
                    stream.write(reader.decompress(data))
                    begun, data = not reader.eof, reader.unused_data
                    # Frames may follow each other.
                    reader = reader if begun else zstd.ZstdDecompressor()
        except zstd.ZstdError as error:
            fault(f"{error}; what lies before was read")
            return
        if begun:
            fault("it is cut off; what lies before was read")


def _merge(file: Path, journals: list[Path], fault: Fault) -> None:
    """Merge journals into a copy of their SQLite file."""
    for journal in journals:
        shutil.copyfile(journal, file.with_name(journal.name))
    names = " and ".join(journal.name for journal in journals)
    with closing(sqlite3.connect(file)) as copy:
        try:
            _, frames, _ = copy.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        except sqlite3.Error as error:
            fault(f"{names} next to it cannot be merged ({error}); the messages in it were not read")
            return
    lost = ""
    if journals[0].name.endswith(_WAL):
        written = _written_frames(journals[0])
        if frames < written:
            lost = (
                f"; {max(frames, 0)} of the {written} pages in it could be used: the last write was not finished, or "
                "it is damaged"
            )
    fault(f"its recorder did not finish: {names} next to it was read with it{lost}")


def _written_frames(log: Path) -> int:
    """Frames of a write-ahead log, of which the last may be cut off; those of a log that it was before do not count."""
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
