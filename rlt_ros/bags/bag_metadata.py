"""``metadata.yaml`` of a bag: its files and message counts.

Recorders write wrong ones: those of Humble give only the last file's start and duration for a split bag, and a killed
recorder writes zeros or nothing. Reading therefore does not rely on it; it is compared with the files' contents.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

from rlt_ros.bags.bag_records import Contents
from rlt_ros.store.documents import read_yaml_file

METADATA = "metadata.yaml"
_TOLERANCE = 1_000_000
"""Tolerated difference of times, ns: metadata rounds, and a smaller shift of a label does not matter."""
_SHOWN = 3
_NS = 1e-9


@dataclass(frozen=True)
class Metadata:
    """Contents of a bag according to its ``metadata.yaml``.

    Attributes:
        files: names, without folders.
        counts: topic → messages.
        digests: topic → REP-2016 hash of its type; empty if unknown.
        start: ns.
        duration: ns.
    """

    files: tuple[str, ...]
    counts: Mapping[str, int]
    digests: Mapping[str, str]
    start: int
    duration: int

    def differences(self, found: Contents) -> list[str]:
        """Sentences about differences from the files' contents."""
        differing = [
            f"{count} messages of {name}, its files contain {held}"
            for name in sorted({*self.counts, *found.counts})
            if (count := self.counts.get(name, 0)) != (held := found.counts.get(name, 0))
        ]
        sentences = []
        if differing:
            more = f"; so do {len(differing) - _SHOWN} more topics" if len(differing) > _SHOWN else ""
            sentences.append(
                f"it counts {'; '.join(differing[:_SHOWN])}{more}; the contents of the files were read"
            )
        duration = found.end - found.start
        if max(abs(self.start - found.start), abs(self.duration - duration)) > _TOLERANCE:
            sentences.append(
                f"it gives {self.duration * _NS:.3f} s from {self.start * _NS:.3f}, its files contain "
                f"{duration * _NS:.3f} s from {found.start * _NS:.3f}; the times of the files are used"
            )
        return sentences


def read_metadata(folder: Path) -> Metadata:
    """Read the metadata of a bag; file names lose their folders, so that none leads out of the bag.

    Raises:
        ValueError, KeyError, TypeError, AttributeError: the file is unusable.
    """
    document = read_yaml_file(folder / METADATA)
    info = document["rosbag2_bagfile_information"]
    counts: dict[str, int] = {}
    digests: dict[str, str] = {}
    for entry in info["topics_with_message_count"]:
        topic: Mapping[str, Any] = entry["topic_metadata"]
        name = str(topic["name"])
        counts[name] = counts.get(name, 0) + int(entry["message_count"])
        digests[name] = str(topic.get("type_description_hash") or "")
    return Metadata(
        tuple(PurePath(str(name)).name for name in info["relative_file_paths"]),
        counts,
        digests,
        int(info["starting_time"]["nanoseconds_since_epoch"]),
        int(info["duration"]["nanoseconds"]),
    )
