"""Labels of a recording: start, end and outcome of its episodes."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlt_ros.bags.errors import BagError
from rlt_ros.replay.stream import EpisodeOutcome
from rlt_ros.store.documents import DocumentError, read_yaml_file

OUTCOMES: Mapping[str, EpisodeOutcome] = {
    "cut": EpisodeOutcome.ABORTED,
    "success": EpisodeOutcome.SUCCESS,
    "failure": EpisodeOutcome.FAILURE,
}
"""Word of a label → outcome; ``cut`` means that the episode would have continued, so its value is bootstrapped."""

_KEYS = ("start", "end", "critical", "outcome")
# s since 1970; no recording is that long.
_ABSOLUTE = 1e8
_NS = 1_000_000_000


@dataclass(frozen=True)
class Segment:
    """Episode of a recording, on the recording's clock.

    Attributes:
        start, end: ns; the end is exclusive.
        critical: start of the critical phase, ns.
        outcome: outcome.
        name: name in messages.
    """

    start: int
    end: int
    critical: int
    outcome: EpisodeOutcome
    name: str

    @property
    def reward(self) -> float:
        """Reward of the last step."""
        return 1.0 if self.outcome is EpisodeOutcome.SUCCESS else 0.0


def whole_recording(start: int, end: int, outcome: str) -> Segment:
    """Segment of a whole recording, critical from its start."""
    return Segment(start, end + 1, start, OUTCOMES[outcome], "the bag")


def read_labels(path: str | Path, *, start: int, end: int) -> list[Segment]:
    """Read the episodes of a label file, in the order of their times.

    Args:
        path: YAML, a list of entries with ``start`` and ``end`` in seconds from the bag's start or since 1970, and
            optionally ``critical``, the start of the critical phase, and ``outcome``: success, failure or cut.
        start: start of the recording, ns.
        end: end of the recording, ns.

    Raises:
        BagError: the file cannot be read, or a value is invalid; the message names file, entry and key.
    """
    try:
        document = read_yaml_file(Path(path).expanduser())
    except DocumentError as error:
        raise BagError(f"labels {error}") from error
    if not isinstance(document, list) or not document:
        raise BagError(f"labels {path}: must be a list of entries with the keys {', '.join(_KEYS)}")
    segments = [
        _segment(entry, f"labels {path}: entry {number}", start, end)
        for number, entry in enumerate(document, 1)
    ]
    segments.sort(key=lambda segment: segment.start)
    _require_apart(segments)
    return segments


def _segment(entry: Any, name: str, start: int, end: int) -> Segment:
    if not isinstance(entry, Mapping):
        raise BagError(f"{name} is {entry!r}; it must be a mapping with the keys {', '.join(_KEYS)}")
    unknown = [key for key in entry if key not in _KEYS]
    if unknown:
        raise BagError(f"{name}: key `{unknown[0]}` is unknown; allowed: {', '.join(_KEYS)}")
    for key in ("start", "end"):
        if key not in entry:
            raise BagError(f"{name}: `{key}` is required and missing")
    first, last = (_moment(entry, key, name, start) for key in ("start", "end"))
    critical = _moment(entry, "critical", name, start) if "critical" in entry else first
    seconds = (end - start) / _NS
    if first >= last:
        raise BagError(f"{name}: `end` is {entry['end']}; it must be later than `start`, {entry['start']}")
    if not first <= critical < last:
        raise BagError(
            f"{name}: `critical` is {entry['critical']}; it must be from `start`, {entry['start']}, to before `end`, "
            f"{entry['end']}"
        )
    if first > end or last < start:
        raise BagError(
            f"{name}: `start` is {entry['start']}, outside the recording of {seconds:.3f} s from {start / _NS:.3f}"
        )
    outcome = entry.get("outcome", "cut")
    if outcome not in OUTCOMES:
        raise BagError(f"{name}: `outcome` is {outcome!r}; allowed: {', '.join(OUTCOMES)}")
    return Segment(first, last, critical, OUTCOMES[outcome], name)


def _moment(entry: Mapping[Any, Any], key: str, name: str, start: int) -> int:
    value = entry[key]
    if (
        isinstance(value, bool)
        or not isinstance(value, (int, float))
        or not math.isfinite(value)
        or value < 0
    ):
        raise BagError(
            f"{name}: `{key}` is {value!r}; it must be seconds from the bag's start, at least 0, or since 1970"
        )
    return round(value * _NS) + (0 if value >= _ABSOLUTE else start)


def _require_apart(segments: Sequence[Segment]) -> None:
    for before, after in itertools.pairwise(segments):
        if after.start < before.end:
            entry = before.name.rpartition(": ")[2]
            raise BagError(
                f"{after.name}: `start` lies before the `end` of {entry}; episodes must not overlap"
            )
