"""Records of a bag: messages, topics, and the contents of a file."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

Fault = Callable[[str], None]
"""Called with a sentence about an unreadable or inconsistent part."""


@dataclass(frozen=True)
class Topic:
    """Topic of a bag.

    Attributes:
        name: absolute.
        type: message type, e.g. ``sensor_msgs/msg/Image``.
        count: messages.
        definition: definition of the type; empty if the bag has none.
        digest: REP-2016 hash of the type; empty if the bag has none.
        encoding: serialisation of the messages.
    """

    name: str
    type: str
    count: int
    definition: str = ""
    digest: str = ""
    encoding: str = "cdr"


class BagMessage(NamedTuple):
    """Message of a bag.

    Attributes:
        topic: absolute name.
        type: message type.
        time: recording time, ns.
        data: serialised message.
    """

    topic: str
    type: str
    time: int
    data: bytes


@dataclass(frozen=True)
class Contents:
    """Contents of one file or of a bag.

    Attributes:
        topics: by name; only those with messages.
        start: time of the first message, ns.
        end: time of the last message, ns.
        indexed: the file's index gives all messages in the order of time.
    """

    topics: Mapping[str, Topic] = field(default_factory=dict)
    start: int = 0
    end: int = 0
    indexed: bool = True

    @property
    def counts(self) -> dict[str, int]:
        """Topic → messages."""
        return {name: topic.count for name, topic in self.topics.items()}


class Tally:
    """Contents of a file, counted message by message."""

    def __init__(self) -> None:
        self._topics: dict[tuple[str, str], Topic] = {}
        self._start, self._end = 0, 0

    def add(self, topic: Topic, time: int) -> None:
        """Count one message of a topic, recorded at ``time`` ns; the topic's own count is ignored."""
        self._start = min(self._start, time) if self._topics else time
        self._end = max(self._end, time)
        key = topic.name, topic.type
        known = self._topics.get(key)
        self._topics[key] = replace(known or topic, count=known.count + 1 if known else 1)

    def contents(self) -> Contents:
        """Return the contents of a file without an index."""
        return Contents(by_name(self._topics.values()), self._start, self._end, indexed=False)


def by_name(topics: Iterable[Topic]) -> dict[str, Topic]:
    """Topics with messages by name; counts of equal names are added."""
    found: dict[str, Topic] = {}
    for topic in topics:
        if topic.count:
            known = found.get(topic.name)
            found[topic.name] = replace(known, count=known.count + topic.count) if known else topic
    return found


def merge_contents(parts: Iterable[Contents]) -> Contents:
    """Merge the contents of several files."""
    parts = [part for part in parts if part.topics]
    return Contents(
        by_name(topic for part in parts for topic in part.topics.values()),
        min((part.start for part in parts), default=0),
        max((part.end for part in parts), default=0),
    )
