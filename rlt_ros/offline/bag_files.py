"""Bags of rosbag2 as one stream of messages: folders or single files, MCAP and SQLite, plain or zstd, whole or cut off.

Files are read one after the other in the order of their times, those that overlap together, and each from its
beginning, so memory stays flat. What cannot be read, or differs from what the metadata claims, is in `Bag.faults`; what
lies before it is read. Nothing here knows what a message means.
"""

from __future__ import annotations

import heapq
import itertools
import sys
from collections import Counter
from collections.abc import Collection, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType

from rlt_ros.offline import mcap_bag, sqlite_bag
from rlt_ros.offline.bag_folder import find
from rlt_ros.offline.bag_metadata import METADATA, Metadata
from rlt_ros.offline.errors import BagError
from rlt_ros.offline.mcap_scan import MAGIC as MCAP_MAGIC
from rlt_ros.offline.plain_files import SQLITE_MAGIC, ZSTD_MAGIC, first_bytes, plain
from rlt_ros.offline.recorded import Contents, Recorded, Topic, joined
from rlt_ros.rlt.lineage import fingerprint

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

_FIRST = 16
"""Messages that a bag is recognised by."""
_ENCODING = "cdr"
"""Serialisation of ROS 2, the only one that is read."""


@dataclass(frozen=True)
class _Part:
    """A file of a bag."""

    file: Path
    contents: Contents


class Bag:
    """One bag.

    Args:
        path: folder, or a file of one.
        work: folder for files that must be decompressed or copied as a whole; the system's for such by default.

    Attributes:
        path: as given.
        topics: by name.
        start, end: when its first and its last message were recorded, ns.
        faults: sentences about what of it could not be read or is not as it should be; more may come while it is read.

    Raises:
        BagError: there is no bag, or nothing of it can be read.
    """

    def __init__(self, path: str | Path, *, work: Path | None = None) -> None:
        self.path, self._work = Path(path).expanduser(), work
        found = find(self.path)
        self.faults: list[str] = found.faults
        parts = [_Part(file, self._contents(file)) for file in found.files]
        self._parts = self._without_copies(sorted(parts, key=lambda part: part.contents.start))
        contents = joined(part.contents for part in self._parts)
        if found.metadata is not None:
            contents = self._compared(found.metadata, contents)
        self.topics = self._readable(contents)
        self.start, self.end = contents.start, contents.end
        if not self.topics:
            reasons = f": {'; '.join(self.faults)}" if self.faults else ""
            raise BagError(f"bag {self.path} holds no messages that can be read{reasons}")

    @property
    def seconds(self) -> float:
        """From the first message to the last."""
        return (self.end - self.start) * 1e-9

    def messages(self, topics: Collection[str]) -> Iterator[Recorded]:
        """Messages of some topics in the order in which they were recorded."""
        wanted = {topic for topic in topics if topic in self.topics}
        for group in self._groups():
            files = [self._of_part(part, wanted) for part in group]
            try:
                yield from files[0] if len(files) == 1 else heapq.merge(*files, key=lambda one: one.time)
            finally:
                for file in files:
                    file.close()

    def identity(self) -> str:
        """Sixteen hex digits that its first messages make, whatever they are stored in."""
        first = itertools.islice(self.messages(set(self.topics)), _FIRST)
        return fingerprint(b"".join(b"%s %d %s" % (m.topic.encode(), m.time, m.data) for m in first))

    # -- contents ----------------------------------------------------------------------------------------------------

    def _contents(self, file: Path) -> Contents:
        try:
            with plain(file, self._work, lambda text: self._fault(file, text)) as path:
                return _storage(path).contents(path, lambda text: self._fault(file, text))
        except PermissionError as error:
            self._fault(file, f"{error.strerror}; it was not read")
            return Contents()
        # Of the system, such as a full disk.
        except OSError:
            raise
        # Libraries raise of every kind for damaged files.
        except Exception as error:
            self._fault(file, f"{str(error) or type(error).__name__}; it was not read")
            return Contents()

    def _without_copies(self, parts: list[_Part]) -> list[_Part]:
        """Files with messages, each once."""
        kept: list[_Part] = []
        for part in parts:
            if not part.contents.topics:
                continue
            twin = next((one for one in kept if _is_copy(one.contents, part.contents)), None)
            if twin is None:
                kept.append(part)
            else:
                self._fault(part.file, f"it is a copy of {twin.file.name}; it was not read")
        return kept

    def _compared(self, metadata: Metadata, contents: Contents) -> Contents:
        """The contents, with what the metadata knows better."""
        if contents.topics:
            for difference in metadata.differences(contents):
                self._fault(self.path / METADATA, difference)
        topics = {
            name: replace(topic, digest=topic.digest or metadata.digests.get(name, ""))
            for name, topic in contents.topics.items()
        }
        return replace(contents, topics=topics)

    def _readable(self, contents: Contents) -> dict[str, Topic]:
        for name, topic in contents.topics.items():
            if topic.encoding != _ENCODING:
                self.faults.append(
                    f"{self.path}: {name} is serialised as `{topic.encoding}`; only {_ENCODING} can be read, its "
                    f"{topic.count} messages were left out"
                )
        return {name: topic for name, topic in contents.topics.items() if topic.encoding == _ENCODING}

    # -- messages ----------------------------------------------------------------------------------------------------

    def _groups(self) -> Iterator[list[_Part]]:
        """Files in the order of their times; those that overlap are together."""
        group: list[_Part] = []
        end = 0
        for part in self._parts:
            if group and part.contents.start > end:
                yield group
                group = []
            end = max(end, part.contents.end) if group else part.contents.end
            group.append(part)
        if group:
            yield group

    def _of_part(self, part: _Part, topics: Collection[str]) -> Generator[Recorded, None, None]:
        read: Counter[str] = Counter()
        with (
            plain(part.file, self._work, lambda text: self._fault(part.file, text)) as path,
            closing(self._source(path, part, topics)) as source,
        ):
            while True:
                # The reader's errors alone: what is done with a message happens outside.
                try:
                    message = next(source, None)
                    if message is None:
                        break
                    message = message._replace(data=_inflated(message.data))
                except Exception as error:
                    self._fault(part.file, f"{str(error) or type(error).__name__}; what lies before was read")
                    break
                read[message.topic] += 1
                yield message
        for name, count in part.contents.counts.items():
            if name in topics and read[name] != count:
                self._fault(part.file, f"{read[name]} of its {count} messages of {name} were read")

    @staticmethod
    def _source(path: Path, part: _Part, topics: Collection[str]) -> Generator[Recorded, None, None]:
        yield from _storage(path).messages(path, topics, indexed=part.contents.indexed)

    def _fault(self, file: Path, text: str) -> None:
        fault = f"{file}: {text}"
        if fault not in self.faults:
            self.faults.append(fault)


def _storage(path: Path) -> ModuleType:
    """Reader of a file, by its first bytes; by its name where they are of no storage."""
    first = first_bytes(path, len(SQLITE_MAGIC))
    if first == SQLITE_MAGIC or (".db3" in path.suffixes and not first.startswith(MCAP_MAGIC)):
        return sqlite_bag
    return mcap_bag


def _is_copy(one: Contents, other: Contents) -> bool:
    return (one.start, one.end, one.counts) == (other.start, other.end, other.counts)


def _inflated(data: bytes) -> bytes:
    """A message that was compressed by itself; one in CDR begins with 0."""
    return zstd.decompress(data) if data.startswith(ZSTD_MAGIC) else data
