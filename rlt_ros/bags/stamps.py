"""Stamps of recorded messages: substitutes for empty ones, and a comparison with the recording's clock.

A stamp is of the measuring computer, the recording time of the recording one. Their difference is delay plus clock
offset; if it differs between topics by more than delays do, the clocks of two computers differ.
"""

from __future__ import annotations

import statistics
from array import array
from collections.abc import Iterable, Mapping
from typing import Any

MAX_CLOCK_OFFSET_NS = 100_000_000
"""Between the medians of two topics; more means different clocks. Images arrive up to some tens of ms after their
exposure, joint states at once."""

_DIFFERENCES = 4096
"""Kept differences per topic; the median of this many is within the jitter of one."""
_NS = 1e-9


class Stamps:
    """Stamps of the topics of one bag."""

    def __init__(self) -> None:
        self._topics: dict[str, _Differences] = {}

    def of(self, topic: str, recorded: int, stamp: int) -> int:
        """Stamp of a message, ns.

        An empty stamp is replaced by the recording time on the clock of the topic's earlier stamps.

        Args:
            topic: of the message.
            recorded: recording time, ns.
            stamp: stamp in the header, ns; 0 or less if empty.
        """
        differences = self._topics.setdefault(topic, _Differences())
        if stamp <= 0:
            differences.empty += 1
            return recorded + differences.newest
        differences.add(stamp - recorded)
        return stamp

    def report(self) -> dict[str, dict[str, Any]]:
        """Topic → median of stamp − recording, s, None without any stamp; and number of messages without a stamp."""
        return {
            topic: {"median_stamp_minus_recording": one.median, "without_stamp": one.empty}
            for topic, one in sorted(self._topics.items())
        }


def warnings(report: Mapping[str, Mapping[str, Any]]) -> Iterable[str]:
    """Sentences about topics without stamps and about differing clocks in a report."""
    for topic, one in report.items():
        if one["without_stamp"]:
            yield (
                f"{topic}: {one['without_stamp']} messages have no stamp; their recording time is used, late by the "
                "transport delay"
            )
    # A topic without stamps follows the recording's clock.
    medians = {topic: one["median_stamp_minus_recording"] or 0.0 for topic, one in report.items()}
    if not medians:
        return
    early, late = min(medians, key=medians.__getitem__), max(medians, key=medians.__getitem__)
    offset = medians[late] - medians[early]
    if offset > MAX_CLOCK_OFFSET_NS * _NS:
        yield (
            f"the stamps of {early} are {offset:.3f} s behind those of {late} (median of stamp − recording: "
            f"{medians[early]:.3f} and {medians[late]:.3f} s): differing clocks of two computers, or a long delay. "
            "Observations and commands are paired by stamps, so their pairs are off by as much; synchronise the "
            "clocks (chrony, PTP) and record again"
        )


class _Differences:
    """Stamp − recording of a topic: the newest, and a sample for the median."""

    def __init__(self) -> None:
        self.newest = self.empty = 0
        self._kept = array("q")
        self._count, self._stride = 0, 1

    def add(self, difference: int) -> None:
        self.newest = difference
        if self._count % self._stride == 0:
            self._kept.append(difference)
            if len(self._kept) == _DIFFERENCES:
                self._kept, self._stride = self._kept[::2], 2 * self._stride
        self._count += 1

    @property
    def median(self) -> float | None:
        """Median difference, s; None without stamps."""
        return statistics.median(self._kept) * _NS if self._kept else None
