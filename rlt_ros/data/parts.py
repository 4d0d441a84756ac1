"""Split archives: ``name.tar.gz.000``, ``.001`` … are one stream of bytes, cut anywhere.

Parts are not joined on disk. A missing part raises an error when the stream reaches it, so that everything before it is
usable while the rest is downloaded.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import BinaryIO

from rlt_ros.data.errors import DataError, MissingPartError

_NAME = re.compile(r"^(?P<stem>.+\.(?:tar\.gz|tgz|tar))(?:\.(?P<number>\d{1,6}))?$")


@dataclass(frozen=True)
class Archive:
    """Available parts of one archive.

    Attributes:
        stem: path of the whole archive in one piece.
        parts: paths in the order of their numbers; an archive in one piece has one.
        sizes: bytes of each part.
        gap: index in ``parts`` of the first missing part, ``len(parts)`` without one.
        missing: names of missing parts below the highest number.
        prefix: folder of the unpacked files, with a slash; empty for that of the data set.
    """

    stem: Path
    parts: tuple[Path, ...]
    sizes: tuple[int, ...]
    gap: int
    missing: tuple[str, ...]
    prefix: str = ""

    def resolve(self, name: str) -> str:
        """Path of a member in the data set; folders that name and prefix share occur once."""
        before, parts = self.prefix.split("/")[:-1], name.split("/")
        for shared in range(min(len(before), len(parts)), 0, -1):
            if before[-shared:] == parts[:shared]:
                return "/".join([*before[:-shared], *parts])
        return self.prefix + name

    @property
    def bytes(self) -> int:
        """Size of all parts together."""
        return sum(self.sizes)

    def locate(self, offset: int) -> str:
        """Part and offset of a byte of the joined stream, as text."""
        ends = list(accumulate(self.sizes))
        index = min(bisect_right(ends, offset), len(self.parts) - 1)
        return f"byte {offset - (ends[index] - self.sizes[index])} of {self.parts[index].name}"

    def hint(self) -> str:
        """Hint from the parts' sizes about a damage: all but the last are usually equal."""
        odd = [path.name for path, size in zip(self.parts[:-1], self.sizes[:-1], strict=True)]
        odd = [name for name, size in zip(odd, self.sizes, strict=False) if size < max(self.sizes)]
        return f"; {', '.join(odd[:3])} is shorter than other parts and may be cut off" if odd else ""

    def signature(self) -> list[list[str | int]]:
        """Values that change with an added or replaced part."""
        return [
            [path.name, size, path.stat().st_mtime_ns]
            for path, size in zip(self.parts, self.sizes, strict=True)
        ]


def is_part(path: Path) -> bool:
    """True if a file is named like an archive or a part of one."""
    return _NAME.match(path.name) is not None


def group_parts(paths: Iterable[Path]) -> list[Archive]:
    """Archives that the files are parts of, sorted by name.

    Raises:
        DataError: a file is no part, does not exist, or an archive is given both whole and in parts.
    """
    groups: dict[Path, dict[int, Path]] = defaultdict(dict)
    for path in paths:
        match = _NAME.match(path.name)
        if match is None:
            raise DataError(
                f"{path}: is not named like an archive; expected …tar.gz or its parts …tar.gz.000, .001 …"
            )
        if not path.is_file():
            raise DataError(f"{path}: there is no such file")
        number = -1 if match["number"] is None else int(match["number"])
        if number in groups[path.with_name(match["stem"])]:
            raise DataError(f"{path}: two files have the part number {number}; leave one of them out")
        groups[path.with_name(match["stem"])][number] = path
    return [_archive(stem, parts) for stem, parts in sorted(groups.items())]


def _archive(stem: Path, parts: dict[int, Path]) -> Archive:
    if -1 in parts and len(parts) > 1:
        raise DataError(f"{stem}: exists in one piece and in parts; leave one of them out")
    numbers = sorted(parts)
    width = 0 if -1 in parts else max(len(path.name) - len(stem.name) - 1 for path in parts.values())
    first = min(numbers[0], 0) if not _starts_gzip(parts[numbers[0]]) else numbers[0]
    absent = [n for n in range(first, numbers[-1]) if n not in parts]
    gap = len(numbers) if not absent else sum(number < absent[0] for number in numbers)
    return Archive(
        stem,
        tuple(parts[n] for n in numbers),
        tuple(parts[n].stat().st_size for n in numbers),
        gap,
        tuple(f"{stem.name}.{n:0{width}d}" for n in absent),
    )


def _starts_gzip(path: Path) -> bool:
    with path.open("rb") as stream:
        return stream.read(2) == b"\x1f\x8b"


class PartReader:
    """Bytes of an archive's parts, in order.

    Attributes:
        offset: position in the joined stream.
    """

    def __init__(self, archive: Archive) -> None:
        self.archive = archive
        self.offset = 0
        self._index = 0
        self._stream: BinaryIO | None = None

    def read(self, size: int) -> bytes:
        """Up to ``size`` bytes; empty at the end.

        Raises:
            MissingPartError: the next part is missing.
        """
        while True:
            if self._stream is None:
                if self._index == self.archive.gap and self.archive.missing:
                    raise MissingPartError(
                        f"{self.archive.stem}: part {self.archive.missing[0]} is missing, after byte {self.offset} of "
                        f"the whole ({len(self.archive.missing)} missing: {_listed(self.archive.missing)}); fetch it "
                        "into the same folder and run the same command again, which resumes there"
                    )
                if self._index == len(self.archive.parts):
                    return b""
                self._stream = self.archive.parts[self._index].open("rb", buffering=0)
            data = self._stream.read(size)
            if data:
                self.offset += len(data)
                return data
            self._stream.close()
            self._stream, self._index = None, self._index + 1

    def close(self) -> None:
        """Close the open part."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (" …" if len(names) > 5 else "")
