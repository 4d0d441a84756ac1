"""Stamps of recorded messages: filled in where a driver leaves them empty, and compared with the recording's clock.

A stamp is of the computer that measured, the time of recording of the one that recorded. Their difference is delay and
offset of two clocks; where it differs between topics by more than delays do, two computers' clocks are apart.
"""

from __future__ import annotations

import statistics
from array import array
from collections.abc import Iterable, Mapping
from typing import Any

APART = 100_000_000
"""ns between the medians of two topics beyond which clocks are apart: pictures come up to some tens of ms after their
exposure, joint states at once."""

_KEPT = 4096
"""Differences kept of a topic; the median of so many is within the jitter of one."""
_NS = 1e-9


class Stamps:
    """Stamps of the topics of one bag."""

    def __init__(self) -> None:
        self._topics: dict[str, _Differences] = {}

    def of(self, topic: str, recorded: int, stamp: int) -> int:
        """Stamp of a message, ns.

        An empty one is the time of recording, on the clock of the stamps that the topic had before.

        Args:
            topic: of the message.
            recorded: when it was recorded, ns.
            stamp: in its header, ns; 0 or less where it is empty.
        """
        differences = self._topics.setdefault(topic, _Differences())
        if stamp <= 0:
            differences.empty += 1
            return recorded + differences.newest
        differences.add(stamp - recorded)
        return stamp

    def report(self) -> dict[str, dict[str, Any]]:
        """Topic → median of stamp − recording, s, None without any stamp; and number of messages without one."""
        return {
            topic: {"median_stamp_minus_recording": one.median, "without_stamp": one.empty}
            for topic, one in sorted(self._topics.items())
        }


def warnings(report: Mapping[str, Mapping[str, Any]]) -> Iterable[str]:
    """Sentences about topics without stamps, and about clocks that are apart, of a report."""
    for topic, one in report.items():
        if one["without_stamp"]:
            yield (
                f"{topic}: {one['without_stamp']} messages have no stamp; the time of recording was taken, later by "
                "the delay on the way"
            )
    # A topic without stamps has the recording's clock.
    medians = {topic: one["median_stamp_minus_recording"] or 0.0 for topic, one in report.items()}
    if not medians:
        return
    early, late = min(medians, key=medians.__getitem__), max(medians, key=medians.__getitem__)
    apart = medians[late] - medians[early]
    if apart > APART * _NS:
        yield (
            f"the stamps of {early} are {apart:.3f} s behind those of {late} (median of stamp − recording: "
            f"{medians[early]:.3f} and {medians[late]:.3f} s): clocks of two computers that are apart, or a long "
            "delay. What was seen, measured and commanded is paired by stamps, so it is off by as much; synchronise "
            "the clocks (chrony, PTP) and record again"
        )


class _Differences:
    """Stamp − recording of a topic: the newest, and as many of all as the median needs."""

    def __init__(self) -> None:
        self.newest = self.empty = 0
        self._kept = array("q")
        self._count, self._stride = 0, 1

    def add(self, difference: int) -> None:
        self.newest = difference
        if self._count % self._stride == 0:
            self._kept.append(difference)
            if len(self._kept) == _KEPT:
                self._kept, self._stride = self._kept[::2], 2 * self._stride
        self._count += 1

    @property
    def median(self) -> float | None:
        """s."""
        return statistics.median(self._kept) * _NS if self._kept else None
