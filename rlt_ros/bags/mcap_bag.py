"""Reader of rosbag2's MCAP files: by the index if it is complete, else record by record."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from rosbags.rosbag2 import Reader

from rlt_ros.bags.bag_records import BagMessage, Contents, Fault, Tally, Topic, by_name
from rlt_ros.bags.mcap_scan import Damage, scan

_END_OF_TIME = 2**63 - 1


def contents(path: Path, fault: Fault) -> Contents:
    """Contents of a file, from its index, else from all of its records."""
    found = _indexed_contents(path)
    if found is not None:
        return found
    tally = Tally()
    try:
        for message in scan(path):
            tally.add(message.topic, message.time)
    except Damage as error:
        fault(f"{error}; messages before it were read")
    return tally.contents()


def messages(path: Path, topics: Collection[str], *, indexed: bool) -> Iterator[BagMessage]:
    """Messages of some topics in the order of time; without an index, in the order of the file's chunks.

    Raises:
        Damage: after the last readable message.
    """
    if not indexed:
        for topic, time, data in scan(path):
            if topic.name in topics:
                yield BagMessage(topic.name, topic.type, time, data)
        return
    with Reader(path) as reader:
        wanted = [connection for connection in reader.connections if connection.topic in topics]
        # An empty list would select all topics.
        if wanted:
            # Without time bounds: wrong times in a chunk's index would hide its messages.
            with closing(reader.messages(wanted, 0, _END_OF_TIME)) as found:
                for connection, time, data in found:
                    yield BagMessage(connection.topic, connection.msgtype, time, bytes(data))


def _indexed_contents(path: Path) -> Contents | None:
    """Contents by the index; None if the index is incomplete."""
    if path.suffix != ".mcap":
        return None
    try:
        with Reader(path) as reader:
            if not _is_complete(reader):
                return None
            topics = [
                Topic(c.topic, c.msgtype, c.msgcount, c.msgdef.data, encoding=_encoding(c))
                for c in reader.connections
            ]
            return Contents(by_name(topics), reader.start_time, reader.end_time - 1)
    # The library raises many types of errors for damaged files; the scan then finds the place.
    except Exception:
        return None


def _encoding(connection: Any) -> str:
    return str(connection.ext.serialization_format)


def _is_complete(reader: Any) -> bool:
    """True if statistics, chunk index and message index agree; writers may omit each of them or leave it empty."""
    chunks, total = reader.storage.chunks, reader.message_count
    counted = sum(connection.msgcount for connection in reader.connections)
    reached = sum(sum(chunk.channel_count.values()) for chunk in chunks)
    return bool(chunks) and total > 0 and total == counted == reached
