"""Archives as a data set's container: a catalogue that is made once, and episodes extracted from the stream."""

from __future__ import annotations

import hashlib
import json
import shutil
import zlib
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from itertools import accumulate
from pathlib import Path, PurePosixPath
from typing import Any

from rlt_ros.data.container import (
    MAX_DESCRIPTION,
    EpisodeRef,
    FileEntry,
    Files,
    collapse_frames,
    frame_number,
    is_description,
)
from rlt_ros.data.errors import DamagedArchiveError, DataError, MissingPartError, OversizeError, Skips
from rlt_ros.data.inflate import InflatedReader
from rlt_ros.data.parts import Archive
from rlt_ros.data.tar import Member, members
from rlt_ros.store.documents import DocumentError, Kind, read_json_object, require_keys
from rlt_ros.store.storage import replacing

Progress = Callable[[int, int], None]
"""Called with the bytes read of an archive's parts, and their total."""

MAX_ENTRIES = 2_000_000
"""Of a catalogue; 200 bytes each in memory."""
SPOOL = 20 << 30
"""Bytes of incomplete episodes in the work folder."""
MAX_DESCRIPTIONS = 4 << 30
"""Bytes of all descriptions together, which stay in the work folder."""
_FORMAT = 2
_INDEX_KEYS: Mapping[str, Kind] = {
    "format": int,
    "signature": list,
    "damage": str,
    "rejected": dict,
    "examples": list,
    "files": dict,
}


class Archives:
    """Catalogue of the files of one or more archives.

    Args:
        archives: of one data set; ``meta.tar.gz``, ``data.tar.gz`` and ``videos.tar.gz`` of one folder belong together.
        work: folder for the catalogue and temporary files; created if missing.
        spool: bytes of temporary files; a data set that needs more is read in several passes.
        progress: called with the progress of reading.
    """

    def __init__(
        self, archives: Sequence[Archive], work: Path, *, spool: int = SPOOL, progress: Progress | None = None
    ) -> None:
        """Read every archive once, unless ``work`` contains the catalogue.

        A missing part or a damage ends the catalogue and is recorded in ``damage``; files before it are usable.
        """
        self._archives = list(archives)
        self._work, self._spool, self._progress = work, spool, progress
        self.origin = ", ".join(str(archive.stem) for archive in archives)
        self.files: dict[str, FileEntry] = {}
        self.rejected, self.damage = Skips(), ""
        self.passes = 0
        self._index = work / "index.json"
        self._signature = [
            [str(archive.stem.resolve()), archive.prefix, list(archive.missing), archive.signature()]
            for archive in archives
        ]
        if not self._load():
            self._create()

    def read(self, path: str) -> bytes:
        """Read a description."""
        return self._description(path).read_bytes()

    def state(self, names: Sequence[str]) -> list[list[Any]]:
        """Sizes and checksums of files."""
        entries = [(name, self.files[name]) for name in names]
        return [[name, entry.bytes, entry.count, entry.checksum] for name, entry in entries]

    def episodes(self, refs: Sequence[EpisodeRef]) -> Iterator[tuple[EpisodeRef, Files]]:
        """Yield each complete episode with its files, in the order of completion in the archives.

        Episodes with files outside the catalogue are left out; the caller knows them.
        """
        whole = [ref for ref in refs if all(name in self.files for name in ref.needs)]
        for wave in self._waves(sorted(whole, key=self._completed)):
            yield from self._extract(wave)

    # Catalogue

    def _create(self) -> None:
        shutil.rmtree(self._work / "descriptions", ignore_errors=True)
        (self._work / "descriptions").mkdir(parents=True)
        # Name → bytes, count, first, last, checksum.
        entries: dict[str, list[int]] = {}
        self._described = 0
        damages = []
        base = 0
        for archive in self._archives:
            try:
                for member, position in self._members(archive, base, self.rejected):
                    self._add_entry(entries, member, position)
            except (DamagedArchiveError, MissingPartError) as error:
                damages.append(str(error))
            base += archive.bytes + 1
        self.damage = "; ".join(damages)
        self.files = {name: FileEntry(*numbers) for name, numbers in entries.items()}
        index = {
            "format": _FORMAT,
            "signature": self._signature,
            "damage": self.damage,
            "rejected": dict(self.rejected.counts),
            "examples": self.rejected.examples,
            "files": entries,
        }
        with replacing(self._index) as part:
            part.write_text(json.dumps(index), encoding="utf-8")

    def _add_entry(self, entries: dict[str, list[int]], member: Member, position: int) -> None:
        name = collapse_frames(member.name)
        if name in entries and name == member.name:
            self.rejected.add("occurs a second time", member.name)
            return
        if is_description(name):
            self._described += member.size
            if self._described > MAX_DESCRIPTIONS:
                raise OversizeError(
                    f"{self.origin}: its descriptions exceed {MAX_DESCRIPTIONS} bytes, more than those of any data set"
                )
            data = member.read(limit=MAX_DESCRIPTION)
            self._description(name).write_bytes(data)
            checksum = zlib.crc32(data)
        else:
            # Reads the file, so that an incomplete one is not counted.
            checksum = member.checksum()
        entry = entries.setdefault(name, [0, 0, position, position, 0])
        entry[0] += member.size
        entry[1] += 1
        entry[3] = position
        entry[4] = zlib.crc32(checksum.to_bytes(4, "big"), entry[4])
        if len(entries) > MAX_ENTRIES:
            raise DataError(
                f"{self.origin}: has more than {MAX_ENTRIES} files; give fewer archives at a time"
            )

    def _load(self) -> bool:
        """Load the index of an earlier call, if it is complete and of these archives."""
        try:
            index = read_json_object(self._index)
            require_keys(index, _INDEX_KEYS, origin=self._index)
            files = {name: FileEntry(*numbers) for name, numbers in index["files"].items()}
        except (DocumentError, TypeError):
            return False
        if index["format"] != _FORMAT or index["signature"] != self._signature:
            return False
        self.damage, self.files = index["damage"], files
        self.rejected.counts, self.rejected.examples = Counter(index["rejected"]), index["examples"]
        return True

    def _description(self, name: str) -> Path:
        return self._work / "descriptions" / _file_name(name)

    def _members(
        self, archive: Archive, base: int, rejected: Skips
    ) -> Generator[tuple[Member, int], None, None]:
        """Members with their position in all archives together."""
        self.passes += 1
        reader = InflatedReader(archive)
        try:
            for member in members(reader, rejected):
                member.name = archive.resolve(member.name)
                yield member, base + reader.compressed_offset
                if self._progress is not None:
                    self._progress(reader.compressed_offset, archive.bytes)
        finally:
            reader.close()

    # Episodes

    def _completed(self, ref: EpisodeRef) -> int:
        return max((self.files[name].last for name in ref.needs), default=0)

    def _waves(self, refs: Sequence[EpisodeRef]) -> list[Sequence[EpisodeRef]]:
        """Groups of episodes for one pass each, with at most ``spool`` bytes of files that wait for others."""
        if len(refs) <= 1 or self._peak(refs) <= self._spool:
            return [refs] if refs else []
        middle = len(refs) // 2
        return self._waves(refs[:middle]) + self._waves(refs[middle:])

    def _peak(self, refs: Sequence[EpisodeRef]) -> int:
        """Most bytes of waiting files when these episodes are extracted in one pass."""
        until: dict[str, int] = {}
        for ref in refs:
            for name in ref.needs:
                until[name] = max(until.get(name, 0), self._completed(ref))
        changes = [(self.files[name].first, self.files[name].bytes) for name in until]
        changes += [(end + 1, -self.files[name].bytes) for name, end in until.items()]
        waiting = peak = 0
        for _, change in sorted(changes):
            waiting += change
            peak = max(peak, waiting)
        return peak

    def _extract(self, refs: Sequence[EpisodeRef]) -> Iterator[tuple[EpisodeRef, Files]]:
        spool = self._work / "spool"
        # Left by an interrupted run.
        shutil.rmtree(spool, ignore_errors=True)
        spool.mkdir(parents=True)
        bases = [0, *accumulate(archive.bytes + 1 for archive in self._archives)]
        pending = _PendingEpisodes(refs, self.files, bases)
        try:
            for number, archive in enumerate(self._archives):
                yield from self._extract_from(archive, number, bases[number], spool, pending)
        finally:
            shutil.rmtree(spool, ignore_errors=True)

    def _extract_from(
        self, archive: Archive, number: int, base: int, spool: Path, pending: _PendingEpisodes
    ) -> Iterator[tuple[EpisodeRef, Files]]:
        if not pending.missing[number]:
            return
        reading = self._members(archive, base, Skips())
        try:
            for member, _ in reading:
                name = collapse_frames(member.name)
                if not pending.needs(name):
                    continue
                path = spool / _file_name(member.name)
                with path.open("wb") as stream:
                    member.copy_to(stream)
                for ref in pending.add(name, frame_number(member.name), path):
                    yield ref, pending.files(ref)
                    pending.release(ref)
                if not pending.missing[number]:
                    return
        finally:
            reading.close()


class _PendingEpisodes:
    """Episodes of one pass, and their files so far.

    Attributes:
        missing: number of missing files of every archive.
    """

    def __init__(self, refs: Sequence[EpisodeRef], files: dict[str, FileEntry], bases: Sequence[int]) -> None:
        self._files, self._bases = files, bases
        self._open = {ref.name: ref for ref in refs}
        self._found: dict[str, list[tuple[int, Path]]] = {}
        self._users: dict[str, list[str]] = defaultdict(list)
        for ref in refs:
            for name in set(ref.needs):
                self._users[name].append(ref.name)
        self.missing = Counter(self._archive_of(name) for name in self._users)

    def needs(self, name: str) -> bool:
        """True if a file is needed and incomplete."""
        return bool(self._users.get(name)) and not self._is_complete(name)

    def add(self, name: str, frame: int, path: Path) -> list[EpisodeRef]:
        """Add a file and return the episodes that it completes."""
        self._found.setdefault(name, []).append((frame, path))
        if not self._is_complete(name):
            return []
        self.missing[self._archive_of(name)] -= 1
        refs = [self._open[user] for user in self._users[name]]
        return [ref for ref in refs if all(self._is_complete(need) for need in ref.needs)]

    def files(self, ref: EpisodeRef) -> Files:
        """Files of a complete episode."""
        return Files({name: [path for _, path in sorted(self._found[name])] for name in ref.needs})

    def release(self, ref: EpisodeRef) -> None:
        """Remove the files that no other episode needs."""
        del self._open[ref.name]
        for name in set(ref.needs):
            self._users[name].remove(ref.name)
            if not self._users[name]:
                for _, path in self._found.pop(name):
                    path.unlink(missing_ok=True)

    def _is_complete(self, name: str) -> bool:
        return len(self._found.get(name, ())) == self._files[name].count

    def _archive_of(self, name: str) -> int:
        return bisect_right(self._bases, self._files[name].first) - 1


def _file_name(member: str) -> str:
    """File name of a member in the work folder: a digest, and its suffix if that is harmless."""
    suffix = PurePosixPath(member).suffix
    digest = hashlib.sha256(member.encode()).hexdigest()[:32]
    return digest + (suffix if suffix.isascii() and suffix[1:].isalnum() and len(suffix) < 10 else "")


def work_folder(archives: Sequence[Archive], cache: Path) -> Path:
    """Work folder of some archives below ``cache``."""
    stems = json.dumps([str(archive.stem.resolve()) for archive in archives])
    return cache / f"{archives[0].stem.name.split('.')[0]}-{hashlib.sha256(stems.encode()).hexdigest()[:12]}"


def summary(archives: Sequence[Archive]) -> list[dict[str, Any]]:
    """Parts and sizes, for a report."""
    return [
        {
            "archive": archive.prefix + archive.stem.name,
            "parts": len(archive.parts),
            "bytes": archive.bytes,
            "missing": list(archive.missing),
        }
        for archive in archives
    ]
