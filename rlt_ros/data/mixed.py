"""A data set of which some files lie in archives and others unpacked, as hubs have them: one container."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from rlt_ros.data.archive import Archives
from rlt_ros.data.container import EpisodeRef, FileEntry, Files, Folder
from rlt_ros.data.errors import Skips


class Mixed:
    """Archives and the folder that holds them; a file that is in both is taken from the folder.

    Args:
        folder: of the data set.
        archives: below it, with the paths that their files would have unpacked.
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
        """Reason why the catalogue ends early; empty where it is whole."""
        return self._archives.damage

    def read(self, path: str) -> bytes:
        """The bytes of a description."""
        return (self._folder if path in self._folder.files else self._archives).read(path)

    def state(self, names: Sequence[str]) -> list[list[Any]]:
        """A list per file that changes when the file is replaced."""
        plain, packed = self._split(names)
        return [*self._folder.state(plain), *self._archives.state(packed)]

    def episodes(self, refs: Sequence[EpisodeRef]) -> Iterator[tuple[EpisodeRef, Files]]:
        """Each episode with its files: those that are unpacked first, the others as the archives complete them."""
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
            yield ref, files.joined(unpacked)

    def _split(self, names: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Files of the folder, and of the archives."""
        plain = tuple(name for name in names if name in self._folder.files)
        return plain, tuple(name for name in names if name not in self._folder.files)
