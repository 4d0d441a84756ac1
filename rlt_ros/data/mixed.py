"""Container of a data set with some files in archives and others unpacked, as on hubs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from rlt_ros.data.archive import Archives
from rlt_ros.data.container import EpisodeRef, FileEntry, Files, Folder
from rlt_ros.data.errors import Skips


class Mixed:
    """Archives and their folder; a file in both is read from the folder.

    Args:
        folder: of the data set.
        archives: archives below it, with the paths of their unpacked files.
    """

    def __init__(self, folder: Folder, archives: Archives) -> None:
        self._folder, self._archives = folder, archives
        self.origin = folder.origin
        self.files: dict[str, FileEntry] = {**archives.files, **folder.files}

    @property
    def rejected(self) -> Skips:
        """Files that were left out of the catalogue."""
        return self._archives.rejected

    @property
    def damage(self) -> str:
        """Reason for an incomplete catalogue; empty if it is complete."""
        return self._archives.damage

    def read(self, path: str) -> bytes:
        """Read a description."""
        return (self._folder if path in self._folder.files else self._archives).read(path)

    def state(self, names: Sequence[str]) -> list[list[Any]]:
        """Values per file that change with its replacement."""
        plain, packed = self._split(names)
        return [*self._folder.state(plain), *self._archives.state(packed)]

    def episodes(self, refs: Sequence[EpisodeRef]) -> Iterator[tuple[EpisodeRef, Files]]:
        """Yield each episode with its files: unpacked ones first, the others in the order of the archives."""
        by_name = {ref.name: ref for ref in refs}
        waiting = []
        for ref in refs:
            plain, packed = self._split(ref.needs)
            if packed:
                waiting.append(replace(ref, needs=packed))
            else:
                yield from self._folder.episodes([replace(ref, needs=plain)])
        for part, files in self._archives.episodes(waiting):
            ref = by_name[part.name]
            plain, _ = self._split(ref.needs)
            ((_, unpacked),) = self._folder.episodes([replace(ref, needs=plain)])
            yield ref, files.merge(unpacked)

    def _split(self, names: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Files of the folder, and of the archives."""
        plain = tuple(name for name in names if name in self._folder.files)
        return plain, tuple(name for name in names if name not in self._folder.files)
