"""Reader of rosbag2's sqlite3 files: the tables ``topics`` and ``messages``, and definitions since Iron.

Schema: rosbag2_storage_sqlite3 (``sqlite_storage.cpp``). A file is opened read-only and immutable, so that SQLite
neither writes nor reads files next to it; a file with a journal is read from a copy, see `rlt_ros.bags.plain_files`.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from rlt_ros.bags.bag_records import BagMessage, Contents, Fault, Tally, Topic, by_name

_WAL_VERSION_AT, _WAL_VERSION = 18, 2
"""Byte of a file's header that is 2 if its journal is a write-ahead log."""


def contents(path: Path, fault: Fault) -> Contents:
    """Contents of a file; of a damaged one, as far as rows are readable.

    Raises:
        sqlite3.Error: rosbag2's tables are missing.
    """
    with closing(_open(path)) as file:
        topics = _topics(file)
        try:
            rows = file.execute(
                "SELECT topic_id, count(*), min(timestamp), max(timestamp) FROM messages GROUP BY topic_id"
            ).fetchall()
        except sqlite3.Error as error:
            return _scan(file, topics, fault, error)
    known = [row for row in rows if row[0] in topics]
    strays = sum(count for number, count, *_ in rows if number not in topics)
    if strays:
        fault(f"{strays} messages belong to no topic of its table `topics`; they were not read")
    if not known:
        return Contents()
    return Contents(
        by_name(replace(topics[number], count=count) for number, count, *_ in known),
        min(first for *_, first, _ in known),
        max(last for *_, last in known),
    )


def messages(path: Path, topics: Collection[str], *, indexed: bool) -> Iterator[BagMessage]:
    """Messages of some topics in the order of time; in the order of storage if the index is damaged.

    Raises:
        sqlite3.Error: after the last readable row.
    """
    order = "ORDER BY timestamp" if indexed else "NOT INDEXED"
    with closing(_open(path)) as file:
        wanted = {number: topic for number, topic in _topics(file).items() if topic.name in topics}
        for number, time, data in file.execute(f"SELECT topic_id, timestamp, data FROM messages {order}"):
            topic = wanted.get(number)
            if topic is not None:
                yield BagMessage(topic.name, topic.type, time, bytes(data))


def _open(path: Path) -> sqlite3.Connection:
    uri = f"{path.absolute().as_uri()}?mode=ro&immutable=1"
    file = sqlite3.connect(uri, uri=True)
    # Otherwise SQLite refuses a truncated file entirely. Nothing is written.
    file.execute("PRAGMA writable_schema=ON")
    # Invalid UTF-8 in a name must not stop the reading.
    file.text_factory = lambda text: text.decode(errors="replace")
    return file


def _topics(file: sqlite3.Connection) -> dict[int, Topic]:
    """Topic number → topic, without counts."""
    columns = {name for _, name, *_ in file.execute("PRAGMA table_info(topics)")}
    if "name" not in columns:
        raise sqlite3.DatabaseError(f"it has no table `topics` of rosbag2{_log_hint(file)}")
    definitions = {}
    if file.execute("SELECT 1 FROM sqlite_master WHERE name = 'message_definitions'").fetchone():
        definitions = dict(
            file.execute("SELECT topic_type, encoded_message_definition FROM message_definitions")
        )
    digest = "type_description_hash" if "type_description_hash" in columns else "''"
    rows = file.execute(f"SELECT id, name, type, serialization_format, {digest} FROM topics")
    return {
        number: Topic(name, kind, 0, definitions.get(kind) or "", hashed or "", encoding or "cdr")
        for number, name, kind, encoding, hashed in rows
    }


def _scan(file: sqlite3.Connection, topics: dict[int, Topic], fault: Fault, error: sqlite3.Error) -> Contents:
    """Contents of a damaged file, row by row up to the damage."""
    tally = Tally()
    try:
        for number, time in file.execute("SELECT topic_id, timestamp FROM messages NOT INDEXED"):
            if number in topics:
                tally.add(topics[number], time)
    except sqlite3.Error as found:
        error = found
    fault(f"{error}; messages before it were read")
    return tally.contents()


def _log_hint(file: sqlite3.Connection) -> str:
    (_, _, name), *_ = file.execute("PRAGMA database_list").fetchall()
    with Path(name).open("rb") as stream:
        header = stream.read(_WAL_VERSION_AT + 1)
    if header[_WAL_VERSION_AT:] != bytes([_WAL_VERSION]):
        return ""
    return f"; it was recorded with a write-ahead log: copy {Path(name).name}-wal from the recording's folder too"
