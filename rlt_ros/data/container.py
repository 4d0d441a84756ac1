"""Where the files of a data set are: in a folder, or in archives that are read as streams.

A data set is looked at in two steps. The *catalogue* says which files there are; the small ones that describe the
whole (`is_description`) can be read at once. The files of single episodes are then handed out episode by episode. An
archive is read forwards once for each step, and only the files of wanted episodes ever touch the disk: they lie in a
work folder until their episodes have been used.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

from rlt_ros.data.errors import DataError, EpisodeError, Skips

MAX_DESCRIPTION = 256 << 20
"""Bytes of one description; the largest published ones have some MB."""

_FRAME_FOLDER = re.compile(r"(^|/)camera/\d+/")
_DESCRIPTION = re.compile(r"(^|/)(meta/.+\.(json|jsonl|parquet)|task_info/[^/]+\.json)$")


@dataclass(frozen=True)
class FileEntry:
    """One file of the catalogue, or the pictures of one camera that a raw episode keeps in a folder a frame.

    Attributes:
        bytes: size of all of them.
        count: how many.
        first: position of the first in its archive; 0 in a folder.
        last: position of the last.
        checksum: CRC-32 of all of them in an archive, combined; 0 in a folder.
    """

    bytes: int
    count: int = 1
    first: int = 0
    last: int = 0
    checksum: int = 0


@dataclass(frozen=True)
class EpisodeRef:
    """An episode that a data set promises.

    Attributes:
        name: unique in its data set.
        needs: catalogue paths of the files without which it cannot be read.
        info: what its format has to know about it.
    """

    name: str
    needs: tuple[str, ...]
    info: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Hints:
    """Information of a user about a data set that lacks it.

    Attributes:
        fields: ``observation.state`` and ``action`` → field descriptions.
        joints: names of the joints.
        state: features that make up the state, in their order; empty for ``observation.state``.
        action: features that make up the action; empty for ``action``.
    """

    fields: Mapping[str, Any] | None = None
    joints: tuple[str, ...] = ()
    state: tuple[str, ...] = ()
    action: tuple[str, ...] = ()


class Files:
    """The files of one episode on disk."""

    def __init__(self, found: Mapping[str, Sequence[Path]]) -> None:
        self._found = found

    def joined(self, other: Files) -> Files:
        """These files and others."""
        return Files({**self._found, **other._found})

    def path(self, name: str) -> Path:
        """The file with a catalogue path.

        Raises:
            EpisodeError: it is not there.
        """
        return self.all(name)[0]

    def all(self, name: str) -> list[Path]:
        """Every file with a catalogue path, in the order of frames."""
        found = self._found.get(name)
        if not found:
            raise EpisodeError(f"lacks the file {PurePosixPath(name).name}")
        return list(found)


class Container(Protocol):
    """A folder, or archives."""

    @property
    def origin(self) -> str:
        """What to call it in messages."""
        ...

    @property
    def files(self) -> Mapping[str, FileEntry]:
        """Catalogue path → entry."""
        ...

    @property
    def rejected(self) -> Skips:
        """What was left out of the catalogue."""
        ...

    @property
    def damage(self) -> str:
        """Why the catalogue ends early; empty where it is whole."""
        ...

    def read(self, path: str) -> bytes:
        """The bytes of a description."""
        ...

    def state(self, names: Sequence[str]) -> list[list[Any]]:
        """A list per file (catalogue paths) that changes when the file is replaced, without reading it."""
        ...

    def episodes(self, refs: Sequence[EpisodeRef]) -> Iterator[tuple[EpisodeRef, Files]]:
        """Each episode with its files, which stay until the next one is asked for."""
        ...


def is_description(path: str) -> bool:
    """Return whether a file describes the whole data set."""
    return _DESCRIPTION.search(path) is not None


def collapsed(path: str) -> str:
    """Catalogue path of a file: ``camera/17/head_color.jpg`` and its neighbours are one entry.

    A hundred hours hold ten million such pictures; one by one their names alone would fill the memory.
    """
    return _FRAME_FOLDER.sub(r"\1camera/*/", path)


def frame_number(path: str) -> int:
    """Number of the frame that a file below ``camera/`` belongs to; 0 for others."""
    match = _FRAME_FOLDER.search(path)
    return int(match[0].strip("/").split("/")[-1]) if match else 0


def files_below(root: Path) -> list[Path]:
    """Files below a folder, sorted; links to folders are followed, but never to a folder above.

    Hubs and people keep one copy of the videos and link to it.
    """
    found: list[Path] = []

    def visit(folder: Path, above: frozenset[tuple[int, int]]) -> None:
        status = folder.stat()
        identity = (status.st_dev, status.st_ino)
        if identity in above:  # a link to a folder above would be followed for ever
            return
        for path in folder.iterdir():
            if path.is_dir():
                visit(path, above | {identity})
            elif path.is_file():
                found.append(path)

    visit(root, frozenset())
    return sorted(found)


class Folder:
    """A data set that lies unpacked in a folder."""

    def __init__(self, root: Path) -> None:
        """Raises `DataError` when there is no such folder."""
        if not root.is_dir():
            raise DataError(f"{root}: there is no such folder")
        self._root = root
        self.origin = str(root)
        self.rejected, self.damage = Skips(), ""
        self._paths: dict[str, list[tuple[int, Path]]] = {}
        self.files: dict[str, FileEntry] = {}
        for path in files_below(root):
            self._add(path)

    def read(self, path: str) -> bytes:
        """The bytes of a description."""
        ((_, file),) = self._paths[path]
        if file.stat().st_size > MAX_DESCRIPTION:
            raise DataError(f"{file}: has more than {MAX_DESCRIPTION} bytes; no description is as large")
        return file.read_bytes()

    def state(self, names: Sequence[str]) -> list[list[Any]]:
        """Sizes and modification times of files."""
        paths = [path for name in names for _, path in sorted(self._paths.get(name, []))]
        return [[path.name, path.stat().st_size, path.stat().st_mtime_ns] for path in paths]

    def episodes(self, refs: Sequence[EpisodeRef]) -> Iterator[tuple[EpisodeRef, Files]]:
        """Each episode with its files."""
        for ref in refs:
            yield (
                ref,
                Files({name: [path for _, path in sorted(self._paths.get(name, []))] for name in ref.needs}),
            )

    def _add(self, path: Path) -> None:
        name = path.relative_to(self._root).as_posix()
        key = collapsed(name)
        size, entry = path.stat().st_size, self.files.get(key, FileEntry(0, 0))
        self.files[key] = FileEntry(entry.bytes + size, entry.count + 1)
        self._paths.setdefault(key, []).append((frame_number(name), path))
