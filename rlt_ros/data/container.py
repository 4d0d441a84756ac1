"""Container of a data set's files: a folder, or archives that are read as streams.

Reading has two steps. The *catalogue* lists all files, and small descriptions of the whole (`is_description`) are read
at once. The files of single episodes follow, episode by episode. An archive is read forwards once per step, and only
the files of selected episodes are written to disk: they stay in a work folder until their episodes have been used.
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
    """File of the catalogue, or all images of a camera that a raw episode keeps in one folder per frame.

    Attributes:
        bytes: total size.
        count: number of files.
        first: position of the first in its archive; 0 in a folder.
        last: position of the last.
        checksum: combined CRC-32 in an archive; 0 in a folder.
    """

    bytes: int
    count: int = 1
    first: int = 0
    last: int = 0
    checksum: int = 0


@dataclass(frozen=True)
class EpisodeRef:
    """Episode of a data set, before it is read.

    Attributes:
        name: unique in its data set.
        needs: catalogue paths of the required files.
        info: data of its format.
    """

    name: str
    needs: tuple[str, ...]
    info: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Hints:
    """Information from the user about a data set without it.

    Attributes:
        fields: ``observation.state`` and ``action`` → field descriptions.
        joints: names of the joints.
        state: features of the state, in their order; empty for ``observation.state``.
        action: features of the action; empty for ``action``.
    """

    fields: Mapping[str, Any] | None = None
    joints: tuple[str, ...] = ()
    state: tuple[str, ...] = ()
    action: tuple[str, ...] = ()


class Files:
    """Files of one episode on disk."""

    def __init__(self, found: Mapping[str, Sequence[Path]]) -> None:
        self._found = found

    def merge(self, other: Files) -> Files:
        """Union of these files and others."""
        return Files({**self._found, **other._found})

    def path(self, name: str) -> Path:
        """File of a catalogue path.

        Raises:
            EpisodeError: the file is missing.
        """
        return self.all(name)[0]

    def all(self, name: str) -> list[Path]:
        """All files of a catalogue path, in the order of frames."""
        found = self._found.get(name)
        if not found:
            raise EpisodeError(f"lacks the file {PurePosixPath(name).name}")
        return list(found)


class Container(Protocol):
    """A folder, or archives."""

    @property
    def origin(self) -> str:
        """Name in messages."""
        ...

    @property
    def files(self) -> Mapping[str, FileEntry]:
        """Catalogue path → entry."""
        ...

    @property
    def rejected(self) -> Skips:
        """Files that were left out of the catalogue."""
        ...

    @property
    def damage(self) -> str:
        """Reason for an incomplete catalogue; empty if it is complete."""
        ...

    def read(self, path: str) -> bytes:
        """Read a description."""
        ...

    def state(self, names: Sequence[str]) -> list[list[Any]]:
        """Values per catalogue path that change with a file's replacement, without reading it."""
        ...

    def episodes(self, refs: Sequence[EpisodeRef]) -> Iterator[tuple[EpisodeRef, Files]]:
        """Yield each episode with its files, which stay until the next one is requested."""
        ...


def is_description(path: str) -> bool:
    """True if a file describes the whole data set."""
    return _DESCRIPTION.search(path) is not None


def collapse_frames(path: str) -> str:
    """Catalogue path of a file: ``camera/17/head_color.jpg`` and its neighbours share an entry.

    A hundred hours contain ten million such images, whose names alone would fill the memory.
    """
    return _FRAME_FOLDER.sub(r"\1camera/*/", path)


def frame_number(path: str) -> int:
    """Frame number of a file below ``camera/``; 0 for others."""
    match = _FRAME_FOLDER.search(path)
    return int(match[0].strip("/").split("/")[-1]) if match else 0


def files_below(root: Path) -> list[Path]:
    """Files below a folder, sorted; links to folders are followed, except to a folder above.

    Hubs and users link to one copy of the videos.
    """
    found: list[Path] = []

    def visit(folder: Path, above: frozenset[tuple[int, int]]) -> None:
        status = folder.stat()
        identity = (status.st_dev, status.st_ino)
        # A link to a folder above would never end.
        if identity in above:
            return
        for path in folder.iterdir():
            if path.is_dir():
                visit(path, above | {identity})
            elif path.is_file():
                found.append(path)

    visit(root, frozenset())
    return sorted(found)


class Folder:
    """Unpacked data set in a folder."""

    def __init__(self, root: Path) -> None:
        """Raise `DataError` if the folder does not exist."""
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
        """Read a description."""
        ((_, file),) = self._paths[path]
        if file.stat().st_size > MAX_DESCRIPTION:
            raise DataError(f"{file}: exceeds the {MAX_DESCRIPTION} bytes of a description")
        return file.read_bytes()

    def state(self, names: Sequence[str]) -> list[list[Any]]:
        """Sizes and modification times of files."""
        paths = [path for name in names for _, path in sorted(self._paths.get(name, []))]
        return [[path.name, path.stat().st_size, path.stat().st_mtime_ns] for path in paths]

    def episodes(self, refs: Sequence[EpisodeRef]) -> Iterator[tuple[EpisodeRef, Files]]:
        """Yield each episode with its files."""
        for ref in refs:
            yield (
                ref,
                Files({name: [path for _, path in sorted(self._paths.get(name, []))] for name in ref.needs}),
            )

    def _add(self, path: Path) -> None:
        name = path.relative_to(self._root).as_posix()
        key = collapse_frames(name)
        size, entry = path.stat().st_size, self.files.get(key, FileEntry(0, 0))
        self.files[key] = FileEntry(entry.bytes + size, entry.count + 1)
        self._paths.setdefault(key, []).append((frame_number(name), path))
