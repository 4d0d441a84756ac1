"""Bags of rosbag2 as one stream of messages: folders or single files, MCAP and SQLite, plain or zstd, whole or cut off.

The files of a bag are read one after the other and each from its beginning, so memory stays flat. What cannot be read
is said in :attr:`Bag.faults`; what lies before it is there. Nothing here knows what a message means.
"""

from __future__ import annotations

import itertools
import re
import shutil
import sys
import tempfile
from collections.abc import Collection, Generator, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path, PurePath
from typing import Any, NamedTuple

import yaml
from rosbags.rosbag2 import Reader

from rlt_ros.offline.errors import BagError
from rlt_ros.offline.mcap_scan import Damage, scan
from rlt_ros.rlt.lineage import fingerprint

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

_METADATA = "metadata.yaml"
_SUFFIXES = (".mcap", ".db3", ".mcap.zstd", ".db3.zstd")
_ZSTD = b"\x28\xb5\x2f\xfd"  # a message in CDR begins with 0
_FIRST = 16  # messages that a bag is recognised by
_REINDEX = "what is there was read; `ros2 bag reindex` writes a new metadata.yaml"


@dataclass(frozen=True)
class Topic:
    """A topic of a bag.

    Attributes:
        name: absolute.
        type: of its messages, e.g. ``sensor_msgs/msg/Image``.
        count: messages.
        definition: of the type, as far as the bag has it.
        digest: REP-2016 hash of the type, as far as the bag has it.
    """

    name: str
    type: str
    count: int
    definition: str = ""
    digest: str = ""


class Recorded(NamedTuple):
    """A message: its topic, its type, when it was recorded, ns, and its bytes."""

    topic: str
    type: str
    time: int
    data: bytes


@dataclass(frozen=True)
class _Contents:
    """What a file holds: topics by name, and the time of its first and last message, ns."""

    topics: Mapping[str, Topic]
    start: int
    end: int


class Bag:
    """One bag.

    Args:
        path: folder, or a file of one.
        work: folder for files that must be decompressed as a whole; the system's for such by default.

    Attributes:
        path: as given.
        topics: by name.
        start, end: when its first and its last message were recorded, ns.
        faults: what of it could not be read, in words; more may come while it is read.

    Raises:
        BagError: there is no bag, or nothing of it can be read.
    """

    def __init__(self, path: str | Path, *, work: Path | None = None) -> None:
        self.path, self._work = Path(path).expanduser(), work
        self.faults: list[str] = []
        self._files, told = self._look()
        found = told or self._joined([self._contents(file) for file in self._files])
        if not found.topics:
            reasons = f": {'; '.join(self.faults)}" if self.faults else ""
            raise BagError(f"bag {self.path} holds no messages that can be read{reasons}")
        self.topics, self.start, self.end = found.topics, found.start, found.end

    @property
    def seconds(self) -> float:
        """From the first message to the last."""
        return (self.end - self.start) * 1e-9

    def messages(self, topics: Collection[str]) -> Iterator[Recorded]:
        """Messages of some topics, each file's in the order in which they were recorded."""
        for file in self._files:
            with closing(self._of_file(file, topics)) as found:
                yield from found

    def identity(self) -> str:
        """Sixteen hex digits that its first messages make, whatever they are stored in."""
        first = itertools.islice(self.messages(set(self.topics)), _FIRST)
        return fingerprint(b"".join(b"%s %d %s" % (m.topic.encode(), m.time, m.data) for m in first))

    def _look(self) -> tuple[list[Path], _Contents | None]:
        """The bag's files in their order, and what its metadata says that they hold."""
        if not self.path.exists():
            raise BagError(f"there is no bag {self.path}; check the path")
        if self.path.is_file():
            if not self.path.name.endswith(_SUFFIXES):
                raise BagError(
                    f"{self.path} is no bag; give a folder with {_METADATA}, or a file *.mcap or *.db3"
                )
            return [self.path], None
        try:
            files, told = _metadata(self.path)
        except BagError:
            raise
        except (OSError, ValueError, KeyError, TypeError, AttributeError, yaml.YAMLError) as error:
            files, told = sorted(_data_files(self.path), key=_natural), None
            missing = isinstance(error, FileNotFoundError)
            why = "is missing: its recorder did not finish" if missing else f"cannot be used: {error!r}"
            if not files:
                raise BagError(
                    f"{self.path} is no bag: {_METADATA} {why}, and there is no *.mcap or *.db3; check the path"
                ) from None
            self.faults.append(f"{self.path / _METADATA} {why}; {_REINDEX}")
        there = [file for file in files if file.is_file()]
        self.faults += [
            f"{file} is missing; the bag's other files were read" for file in files if file not in there
        ]
        return there, told

    def _contents(self, file: Path) -> _Contents:
        """What a file holds, from its own index, or where that is missing from reading it."""
        try:
            with self._plain(file) as plain, Reader(plain) as reader:
                topics = [Topic(c.topic, c.msgtype, c.msgcount, c.msgdef.data) for c in reader.connections]
                if not reader.message_count:
                    return _Contents({}, 0, 0)
                return _Contents(_by_name(topics), reader.start_time, reader.end_time - 1)
        except Exception as error:
            if not _is_mcap(file):
                self._fault(file, error)
                return _Contents({}, 0, 0)
        topics, times = [], []
        for channel, when in self._scanned_channels(file):
            topics.append(Topic(channel.topic, channel.type, 1, channel.definition))
            times.append(when)
        return _Contents(_by_name(topics), min(times, default=0), max(times, default=0))

    def _scanned_channels(self, file: Path) -> Iterator[tuple[Any, int]]:
        with self._plain(file) as plain:
            try:
                for message in scan(plain):
                    yield message.channel, message.time
            except Damage as error:
                self._fault(file, error)

    def _of_file(self, file: Path, topics: Collection[str]) -> Generator[Recorded, None, None]:
        with self._plain(file) as plain:
            source: Iterator[Recorded] | None = None
            while True:
                try:  # the reader's errors alone: what is done with a message happens outside
                    source = source or self._source(plain, file, topics)
                    message = next(source)
                except StopIteration:
                    return
                except Exception as error:
                    self._fault(file, error)
                    return
                yield message

    def _source(self, plain: Path, file: Path, topics: Collection[str]) -> Iterator[Recorded]:
        """Messages in the order of time, by the file's index; those of an MCAP file without one as they lie in it."""
        reader = Reader(plain)
        try:
            reader.open()
        except Exception:
            if _is_mcap(file):
                return self._scanned(plain, topics)
            raise
        if _is_mcap(file) and not getattr(reader.storage, "chunks", None):
            reader.close()
            return self._scanned(plain, topics)
        return _read(reader, topics)

    @staticmethod
    def _scanned(plain: Path, topics: Collection[str]) -> Iterator[Recorded]:
        for channel, when, data in scan(plain):
            if channel.topic in topics:
                yield Recorded(channel.topic, channel.type, when, _inflated(data))

    def _plain(self, file: Path) -> Any:
        return _Plain(file, self._work, self._fault)

    def _fault(self, file: Path, error: Exception) -> None:
        text = str(error) or type(error).__name__
        fault = f"{file}: {text}; what lies before was read"
        if fault not in self.faults:
            self.faults.append(fault)

    @staticmethod
    def _joined(parts: list[_Contents]) -> _Contents:
        parts = [part for part in parts if part.topics]
        topics = _by_name([topic for part in parts for topic in part.topics.values()])
        start = min((part.start for part in parts), default=0)
        return _Contents(topics, start, max((part.end for part in parts), default=0))


class _Plain:
    """A file as it is, or decompressed for as long as it is read."""

    def __init__(self, file: Path, work: Path | None, fault: Any) -> None:
        self._file, self._work, self._fault = file, work, fault
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    def __enter__(self) -> Path:
        if self._file.suffix != ".zstd":
            return self._file
        if self._work is not None:
            self._work.mkdir(parents=True, exist_ok=True)
        self._folder = tempfile.TemporaryDirectory(prefix=".bag-", dir=self._work)
        plain = Path(self._folder.name) / self._file.stem
        try:
            with zstd.open(self._file, "rb") as source, plain.open("wb") as target:
                shutil.copyfileobj(source, target, 2**20)
        except (EOFError, zstd.ZstdError) as error:  # what came out of it may still be read
            self._fault(self._file, error)
        except BaseException:
            self._folder.cleanup()
            raise
        return plain

    def __exit__(self, *_: object) -> None:
        if self._folder is not None:
            self._folder.cleanup()


def _read(reader: Reader, topics: Collection[str]) -> Iterator[Recorded]:
    with closing(reader):
        wanted = [connection for connection in reader.connections if connection.topic in topics]
        if not wanted:  # none would mean all
            return
        for connection, when, data in reader.messages(wanted):
            yield Recorded(connection.topic, connection.msgtype, when, _inflated(bytes(data)))


def _inflated(data: bytes) -> bytes:
    """A message that was compressed by itself."""
    return zstd.decompress(data) if data[:4] == _ZSTD else data


def _metadata(folder: Path) -> tuple[list[Path], _Contents]:
    """Files and contents as ``metadata.yaml`` names them; names that lead out of the folder are cut to their end."""
    document = yaml.safe_load((folder / _METADATA).read_text(encoding="utf-8"))
    info = document["rosbag2_bagfile_information"]
    files = [folder / PurePath(name).name for name in info["relative_file_paths"]]
    topics = [
        Topic(
            name=str(entry["topic_metadata"]["name"]),
            type=str(entry["topic_metadata"]["type"]),
            count=int(entry["message_count"]),
            digest=str(entry["topic_metadata"].get("type_description_hash") or ""),
        )
        for entry in info["topics_with_message_count"]
    ]
    foreign = sorted(
        {entry["topic_metadata"]["serialization_format"] for entry in info["topics_with_message_count"]}
    )
    if foreign not in ([], ["cdr"]):
        raise BagError(f"bag {folder} is serialised as {', '.join(foreign)}; only cdr can be read")
    start = int(info["starting_time"]["nanoseconds_since_epoch"])
    return files, _Contents(_by_name(topics), start, start + int(info["duration"]["nanoseconds"]))


def _data_files(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.is_file() and path.name.endswith(_SUFFIXES)]


def _by_name(topics: list[Topic]) -> dict[str, Topic]:
    """Topics by name, counts of the same one added up."""
    found: dict[str, Topic] = {}
    for topic in topics:
        known = found.get(topic.name)
        found[topic.name] = replace(known, count=known.count + topic.count) if known else topic
    return {name: topic for name, topic in found.items() if topic.count}


def _is_mcap(file: Path) -> bool:
    return file.name.endswith((".mcap", ".mcap.zstd"))


def _natural(path: Path) -> list[Any]:
    """Sorts ``bag_10`` behind ``bag_9``."""
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", path.name)]
