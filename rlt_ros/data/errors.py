"""Errors of data sets: those that end the work, and counts of skipped episodes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

T = TypeVar("T")

MAX_EXAMPLES = 100_000
"""Stored examples; an archive of ten million odd members must not fill the memory."""


class DataError(ValueError):
    """Unusable data set, archive or episode; the message names place and remedy."""


class MissingPartError(DataError):
    """Missing part of a split archive."""


class DamagedArchiveError(DataError):
    """Archive that violates its format; the message names part and offset."""


class OversizeError(DataError):
    """Archive that would exceed the size of any data of its kind."""


class EmptyResultError(DataError):
    """Empty result: no row, no embedding.

    Args:
        what: input and result, e.g. ``set: no episode could be written``.
        reasons: in the order of importance.
    """

    def __init__(self, what: str, reasons: Sequence[str]) -> None:
        super().__init__(f"{what}: {'; '.join(reasons) or 'the input contains nothing usable'}")
        self.what, self.reasons = what, list(reasons)


class EpisodeError(DataError):
    """Unusable episode; the others remain usable.

    Args:
        reason: equal text for all episodes with this fault, so that they can be counted.
        detail: file, key, value and remedy of this one.
    """

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason} ({detail})" if detail else reason)
        self.reason, self.detail = reason, detail


class Skips:
    """Skipped or remarkable episodes and members: a count per reason, and examples."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.examples: list[str] = []
        self._first: dict[str, str] = {}

    def add(self, reason: str, what: str, detail: str = "") -> None:
        """Count ``what`` for a ``reason`` with few distinct values; ``detail`` may differ each time."""
        if reason not in self.counts:
            self._first[reason] = f"{what} ({detail})" if detail else what
        self.counts[reason] += 1
        if len(self.examples) < MAX_EXAMPLES:
            self.examples.append(f"{what}: {reason} ({detail})" if detail else f"{what}: {reason}")

    def merge(self, other: Skips) -> None:
        """Add the counts of another instance."""
        self._first = other._first | self._first
        self.counts.update(other.counts)
        self.examples = (self.examples + other.examples)[:MAX_EXAMPLES]

    def attempt(self, what: str, work: Callable[[], T]) -> T | None:
        """Return the result of ``work``; on an `EpisodeError` count it for the episode ``what`` and return None."""
        try:
            return work()
        except EpisodeError as error:
            self.add(error.reason, what, error.detail)
            return None

    def reasons(self) -> list[str]:
        """Sentence per reason with its first case, the most frequent first."""
        return [
            f"{count} × {reason}, e.g. {self._first.get(reason, '')}".removesuffix(", e.g. ")
            for reason, count in self.counts.most_common()
        ]

    def __len__(self) -> int:
        return self.counts.total()

    def summary(self) -> dict[str, Any]:
        """Counts and examples, for a report."""
        return {"total": len(self), "reasons": dict(self.counts.most_common()), "examples": self.examples}
