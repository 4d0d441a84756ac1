"""Bags of rosbag2 as one stream of messages: folders or single files, MCAP and SQLite, plain or zstd, also truncated.

Files are read one after the other in the order of their times, overlapping ones together, each from its beginning, so
that memory stays flat. `Bag.faults` lists unreadable parts and differences from the metadata; messages before a damage
are read. Messages are not interpreted here.
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

from rlt_ros.bags import mcap_bag, sqlite_bag
from rlt_ros.bags.bag_folder import find_files
from rlt_ros.bags.bag_metadata import METADATA, Metadata
from rlt_ros.bags.bag_records import BagMessage, Contents, Topic, merge_contents
from rlt_ros.bags.errors import BagError
from rlt_ros.bags.mcap_scan import MAGIC as MCAP_MAGIC
from rlt_ros.bags.plain_files import SQLITE_MAGIC, ZSTD_MAGIC, first_bytes, open_plain
from rlt_ros.store.lineage import fingerprint

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

_IDENTITY_MESSAGES = 16
"""Messages in the fingerprint of a bag."""
_ENCODING = "cdr"
"""Serialisation of ROS 2, the only supported one."""


@dataclass(frozen=True)
class _BagFile:
    """File of a bag and its contents."""

    file: Path
    contents: Contents


class Bag:
    """Reader of one bag.

    Args:
        path: folder, or a file of one.
        work: folder for files that must be decompressed or copied; the system's temporary folder by default.

    Attributes:
        path: as given.
        topics: by name.
        start, end: recording times of the first and the last message, ns.
        faults: sentences about unreadable or inconsistent parts; reading may add more.

    Raises:
        BagError: the path is no bag, or nothing of it can be read.
    """

    def __init__(self, path: str | Path, *, work: Path | None = None) -> None:
        self.path, self._work = Path(path).expanduser(), work
        found = find_files(self.path)
        self.faults: list[str] = found.faults
        parts = [_BagFile(file, self._contents(file)) for file in found.files]
        self._parts = self._without_copies(sorted(parts, key=lambda part: part.contents.start))
        contents = merge_contents(part.contents for part in self._parts)
        if found.metadata is not None:
            contents = self._compare(found.metadata, contents)
        self.topics = self._readable(contents)
        self.start, self.end = contents.start, contents.end
        if not self.topics:
            reasons = f": {'; '.join(self.faults)}" if self.faults else ""
            raise BagError(f"bag {self.path} holds no messages that can be read{reasons}")

    @property
    def seconds(self) -> float:
        """Time from the first message to the last."""
        return (self.end - self.start) * 1e-9

    def messages(self, topics: Collection[str]) -> Iterator[BagMessage]:
        """Messages of some topics in the order of recording."""
        wanted = {topic for topic in topics if topic in self.topics}
        for group in self._groups():
            files = [self._read(part, wanted) for part in group]
            try:
                yield from files[0] if len(files) == 1 else heapq.merge(*files, key=lambda one: one.time)
            finally:
                for file in files:
                    file.close()

    def identity(self) -> str:
        """Fingerprint of the first messages, 16 hexadecimal digits, independent of storage."""
        first = itertools.islice(self.messages(set(self.topics)), _IDENTITY_MESSAGES)
        return fingerprint(b"".join(b"%s %d %s" % (m.topic.encode(), m.time, m.data) for m in first))

    # -- contents ----------------------------------------------------------------------------------------------------

    def _contents(self, file: Path) -> Contents:
        try:
            with open_plain(file, self._work, lambda text: self._fault(file, text)) as path:
                return _storage(path).contents(path, lambda text: self._fault(file, text))
        except PermissionError as error:
            self._fault(file, f"{error.strerror}; it was not read")
            return Contents()
        # Errors of the system, such as a full disk, are no damage of the file.
        except OSError:
            raise
        # Libraries raise many types of errors for damaged files.
        except Exception as error:
            self._fault(file, f"{str(error) or type(error).__name__}; it was not read")
            return Contents()

    def _without_copies(self, parts: list[_BagFile]) -> list[_BagFile]:
        """Files with messages, without copies of another file."""
        kept: list[_BagFile] = []
        for part in parts:
            if not part.contents.topics:
                continue
            twin = next((one for one in kept if _is_copy(one.contents, part.contents)), None)
            if twin is None:
                kept.append(part)
            else:
                self._fault(part.file, f"it is a copy of {twin.file.name}; it was not read")
        return kept

    def _compare(self, metadata: Metadata, contents: Contents) -> Contents:
        """Report differences from the metadata, and add its type hashes."""
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

    def _groups(self) -> Iterator[list[_BagFile]]:
        """Groups of overlapping files, in the order of their times."""
        group: list[_BagFile] = []
        end = 0
        for part in self._parts:
            if group and part.contents.start > end:
                yield group
                group = []
            end = max(end, part.contents.end) if group else part.contents.end
            group.append(part)
        if group:
            yield group

    def _read(self, part: _BagFile, topics: Collection[str]) -> Generator[BagMessage, None, None]:
        read: Counter[str] = Counter()
        with (
            open_plain(part.file, self._work, lambda text: self._fault(part.file, text)) as path,
            closing(self._source(path, part, topics)) as source,
        ):
            while True:
                # Only errors of the reader: consumers of a message raise outside.
                try:
                    message = next(source, None)
                    if message is None:
                        break
                    message = message._replace(data=_decompress_message(message.data))
                except Exception as error:
                    self._fault(
                        part.file, f"{str(error) or type(error).__name__}; messages before it were read"
                    )
                    break
                read[message.topic] += 1
                yield message
        for name, count in part.contents.counts.items():
            if name in topics and read[name] != count:
                self._fault(part.file, f"{read[name]} of its {count} messages of {name} were read")

    @staticmethod
    def _source(path: Path, part: _BagFile, topics: Collection[str]) -> Generator[BagMessage, None, None]:
        yield from _storage(path).messages(path, topics, indexed=part.contents.indexed)

    def _fault(self, file: Path, text: str) -> None:
        fault = f"{file}: {text}"
        if fault not in self.faults:
            self.faults.append(fault)


def _storage(path: Path) -> ModuleType:
    """Reader module of a file, by its first bytes, else by its name."""
    first = first_bytes(path, len(SQLITE_MAGIC))
    if first == SQLITE_MAGIC or (".db3" in path.suffixes and not first.startswith(MCAP_MAGIC)):
        return sqlite_bag
    return mcap_bag


def _is_copy(one: Contents, other: Contents) -> bool:
    return (one.start, one.end, one.counts) == (other.start, other.end, other.counts)


def _decompress_message(data: bytes) -> bytes:
    """Decompress a message that was compressed individually; a CDR message begins with 0."""
    return zstd.decompress(data) if data.startswith(ZSTD_MAGIC) else data
