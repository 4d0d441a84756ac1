"""Files of rosbag2's MCAP storage: by their index where it is whole, else record by record."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from rosbags.rosbag2 import Reader

from rlt_ros.offline.mcap_scan import Damage, scan
from rlt_ros.offline.recorded import Contents, Fault, Recorded, Tally, Topic, by_name

_END_OF_TIME = 2**63 - 1


def contents(path: Path, fault: Fault) -> Contents:
    """Contents of a file: from its index, or from all of its records where the index cannot be used."""
    found = _indexed_contents(path)
    if found is not None:
        return found
    tally = Tally()
    try:
        for message in scan(path):
            tally.add(message.channel, message.time)
    except Damage as error:
        fault(f"{error}; what lies before was read")
    return tally.contents()


def messages(path: Path, topics: Collection[str], *, indexed: bool) -> Iterator[Recorded]:
    """Messages of some topics in the order of time; without an index, in that of the file's chunks.

    Raises:
        Damage: after the last message that can be read.
    """
    if not indexed:
        for channel, time, data in scan(path):
            if channel.name in topics:
                yield Recorded(channel.name, channel.type, time, data)
        return
    with Reader(path) as reader:
        wanted = [connection for connection in reader.connections if connection.topic in topics]
        # None would mean all.
        if wanted:
            # All times: those of a chunk's index may be wrong, and would hide its messages.
            with closing(reader.messages(wanted, 0, _END_OF_TIME)) as found:
                for connection, time, data in found:
                    yield Recorded(connection.topic, connection.msgtype, time, bytes(data))


def _indexed_contents(path: Path) -> Contents | None:
    """Contents by the index; None where there is none that leads to every message."""
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
    # The library raises of every kind for damaged files; the scan then finds the place.
    except Exception:
        return None


def _encoding(connection: Any) -> str:
    return str(connection.ext.serialization_format)


def _is_complete(reader: Any) -> bool:
    """Return whether statistics, chunk index and message index agree: writers may leave each of them out, or empty."""
    chunks, total = reader.storage.chunks, reader.message_count
    counted = sum(connection.msgcount for connection in reader.connections)
    reached = sum(sum(chunk.channel_count.values()) for chunk in chunks)
    return bool(chunks) and total > 0 and total == counted == reached
