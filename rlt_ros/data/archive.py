"""Archives as a data set's container: a catalogue that is made once, and episodes taken out of the passing stream."""

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
    collapsed,
    frame_number,
    is_description,
)
from rlt_ros.data.errors import DamagedArchiveError, DataError, MissingPartError, OversizeError, Skips
from rlt_ros.data.inflate import InflatedReader
from rlt_ros.data.parts import Archive
from rlt_ros.data.tar import Member, members
from rlt_ros.rlt.documents import DocumentError, Kind, read_json_object, require_keys
from rlt_ros.rlt.storage import replacing

Progress = Callable[[int, int], None]
"""Called with the bytes read of an archive's parts, and their total."""

MAX_ENTRIES = 2_000_000
"""Of a catalogue; 200 bytes each in memory."""
SPOOL = 20 << 30
"""Bytes of incomplete episodes that may lie in the work folder at a time."""
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
    """The files of one or more archives as one catalogue.

    Args:
        archives: of one data set; ``meta.tar.gz``, ``data.tar.gz`` and ``videos.tar.gz`` of one folder belong together.
        work: folder for the catalogue and for files on their way; made when missing.
        spool: bytes that may lie there at a time; a data set that needs more is read in several passes.
        progress: told how far the reading is.
    """

    def __init__(
        self, archives: Sequence[Archive], work: Path, *, spool: int = SPOOL, progress: Progress | None = None
    ) -> None:
        """Reads every archive once, unless ``work`` holds the catalogue already.

        A missing part or a damage ends the catalogue there and is kept in ``damage``; what lies before can be used.
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
            self._make()

    def read(self, path: str) -> bytes:
        """The bytes of a description."""
        return self._description(path).read_bytes()

    def state(self, names: Sequence[str]) -> list[list[Any]]:
        """Sizes and checksums of files."""
        entries = [(name, self.files[name]) for name in names]
        return [[name, entry.bytes, entry.count, entry.checksum] for name, entry in entries]

    def episodes(self, refs: Sequence[EpisodeRef]) -> Iterator[tuple[EpisodeRef, Files]]:
        """Each complete episode with its files, in the order in which the archives complete them.

        Episodes of which a file is not in the catalogue are left out; the catalogue's user knows them.
        """
        whole = [ref for ref in refs if all(name in self.files for name in ref.needs)]
        for wave in self._waves(sorted(whole, key=self._completed)):
            yield from self._extract(wave)

    # The catalogue

    def _make(self) -> None:
        shutil.rmtree(self._work / "descriptions", ignore_errors=True)
        (self._work / "descriptions").mkdir(parents=True)
        entries: dict[str, list[int]] = {}  # bytes, count, first, last, checksum
        self._described = 0
        damages = []
        base = 0
        for archive in self._archives:
            try:
                for member, position in self._members(archive, base, self.rejected):
                    self._enter(entries, member, position)
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

    def _enter(self, entries: dict[str, list[int]], member: Member, position: int) -> None:
        name = collapsed(member.name)
        if name in entries and name == member.name:
            self.rejected.add("is there a second time", member.name)
            return
        if is_description(name):
            self._described += member.size
            if self._described > MAX_DESCRIPTIONS:
                raise OversizeError(
                    f"{self.origin}: its descriptions have more than {MAX_DESCRIPTIONS} bytes; no data set's have"
                )
            data = member.read(limit=MAX_DESCRIPTION)
            self._description(name).write_bytes(data)
            checksum = zlib.crc32(data)
        else:
            checksum = member.checksum()  # a file counts once all of it has come by
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
        """Take the index of an earlier call over, if it is one of these archives and whole."""
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
                member.name = archive.placed(member.name)
                yield member, base + reader.compressed_offset
                if self._progress is not None:
                    self._progress(reader.compressed_offset, archive.bytes)
        finally:
            reader.close()

    # Episodes

    def _completed(self, ref: EpisodeRef) -> int:
        return max((self.files[name].last for name in ref.needs), default=0)

    def _waves(self, refs: Sequence[EpisodeRef]) -> list[Sequence[EpisodeRef]]:
        """Episodes that one pass can take without more than ``spool`` bytes of files that wait for others."""
        if len(refs) <= 1 or self._peak(refs) <= self._spool:
            return [refs] if refs else []
        middle = len(refs) // 2
        return self._waves(refs[:middle]) + self._waves(refs[middle:])

    def _peak(self, refs: Sequence[EpisodeRef]) -> int:
        """Most bytes that wait at a time when these episodes are taken in one pass."""
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
        shutil.rmtree(spool, ignore_errors=True)  # of a run that was stopped
        spool.mkdir(parents=True)
        bases = [0, *accumulate(archive.bytes + 1 for archive in self._archives)]
        wait = _Waiting(refs, self.files, bases)
        try:
            for number, archive in enumerate(self._archives):
                yield from self._from(archive, number, bases[number], spool, wait)
        finally:
            shutil.rmtree(spool, ignore_errors=True)

    def _from(
        self, archive: Archive, number: int, base: int, spool: Path, wait: _Waiting
    ) -> Iterator[tuple[EpisodeRef, Files]]:
        if not wait.missing[number]:
            return
        reading = self._members(archive, base, Skips())
        try:
            for member, _ in reading:
                name = collapsed(member.name)
                if not wait.wants(name):
                    continue
                path = spool / _file_name(member.name)
                with path.open("wb") as stream:
                    member.copy_to(stream)
                for ref in wait.arrived(name, frame_number(member.name), path):
                    yield ref, wait.files(ref)
                    wait.used(ref)
                if not wait.missing[number]:
                    return
        finally:
            reading.close()


class _Waiting:
    """Episodes of one pass, and the files of theirs that have come by.

    Attributes:
        missing: files that are still to come, for every archive.
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

    def wants(self, name: str) -> bool:
        """Return whether a file is needed that has not come."""
        return bool(self._users.get(name)) and not self._whole(name)

    def arrived(self, name: str, frame: int, path: Path) -> list[EpisodeRef]:
        """Note a file; returns the episodes that it completes."""
        self._found.setdefault(name, []).append((frame, path))
        if not self._whole(name):
            return []
        self.missing[self._archive_of(name)] -= 1
        refs = [self._open[user] for user in self._users[name]]
        return [ref for ref in refs if all(self._whole(need) for need in ref.needs)]

    def files(self, ref: EpisodeRef) -> Files:
        """What has come for an episode."""
        return Files({name: [path for _, path in sorted(self._found[name])] for name in ref.needs})

    def used(self, ref: EpisodeRef) -> None:
        """Remove the files that no other episode waits for."""
        del self._open[ref.name]
        for name in set(ref.needs):
            self._users[name].remove(ref.name)
            if not self._users[name]:
                for _, path in self._found.pop(name):
                    path.unlink(missing_ok=True)

    def _whole(self, name: str) -> bool:
        return len(self._found.get(name, ())) == self._files[name].count

    def _archive_of(self, name: str) -> int:
        return bisect_right(self._bases, self._files[name].first) - 1


def _file_name(member: str) -> str:
    """Name under which a member lies in the work folder: nothing of what the archive calls it but a plain suffix."""
    suffix = PurePosixPath(member).suffix
    digest = hashlib.sha256(member.encode()).hexdigest()[:32]
    return digest + (suffix if suffix.isascii() and suffix[1:].isalnum() and len(suffix) < 10 else "")


def work_folder(archives: Sequence[Archive], cache: Path) -> Path:
    """Folder below ``cache`` that belongs to some archives."""
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
