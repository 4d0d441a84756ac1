"""``metadata.yaml`` of a bag: which files it lists, and what it counts in them.

Recorders write wrong ones: those of Humble give only the last file's start and duration for a bag that was split, a
recorder that was killed writes zeros or nothing. So nothing is read by it: it is compared with what the files hold.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

from rlt_ros.offline.recorded import Contents
from rlt_ros.rlt.documents import read_yaml_file

METADATA = "metadata.yaml"
_TOLERANCE = 1_000_000
"""ns by which times may differ: metadata rounds, a shift of a label by less does not matter."""
_SHOWN = 3
_NS = 1e-9


@dataclass(frozen=True)
class Metadata:
    """Claims of a ``metadata.yaml``.

    Attributes:
        files: names, without folders.
        counts: topic → messages.
        digests: topic → REP-2016 hash of its type; empty where there is none.
        start: ns.
        duration: ns.
    """

    files: tuple[str, ...]
    counts: Mapping[str, int]
    digests: Mapping[str, str]
    start: int
    duration: int

    def differences(self, found: Contents) -> list[str]:
        """Sentences about what differs from what the files hold."""
        differing = [
            f"{count} messages of {name}, its files hold {held}"
            for name in sorted({*self.counts, *found.counts})
            if (count := self.counts.get(name, 0)) != (held := found.counts.get(name, 0))
        ]
        sentences = []
        if differing:
            more = f"; so do {len(differing) - _SHOWN} more topics" if len(differing) > _SHOWN else ""
            sentences.append(f"it counts {'; '.join(differing[:_SHOWN])}{more}; what the files hold was read")
        duration = found.end - found.start
        if max(abs(self.start - found.start), abs(self.duration - duration)) > _TOLERANCE:
            sentences.append(
                f"it gives {self.duration * _NS:.3f} s from {self.start * _NS:.3f}, its files hold "
                f"{duration * _NS:.3f} s from {found.start * _NS:.3f}; the times of the files are used"
            )
        return sentences


def read_metadata(folder: Path) -> Metadata:
    """The metadata of a bag; names that lead out of the folder are cut to their end.

    Raises:
        ValueError, KeyError, TypeError, AttributeError: it cannot be used.
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
