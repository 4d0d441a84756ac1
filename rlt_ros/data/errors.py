"""What can be wrong with a data set: errors that end the work, and episodes that are left out and counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

T = TypeVar("T")

# Reasons kept in words; an archive of ten million odd members must not fill the memory.
_NAMED = 100_000


class DataError(ValueError):
    """A data set, an archive or an episode that cannot be used; the message says where and what to do."""


class MissingPartError(DataError):
    """A part of a split archive is not there."""


class DamagedArchiveError(DataError):
    """An archive whose bytes are not what its format demands; the message names part and offset."""


class OversizeError(DataError):
    """An archive that would grow beyond what data of its kind needs."""


class EmptyResultError(DataError):
    """Nothing came of the input: no row, no embedding.

    Args:
        what: input and result, e.g. ``set: no episode could be written``.
        reasons: the most important first.
    """

    def __init__(self, what: str, reasons: Sequence[str]) -> None:
        super().__init__(f"{what}: {'; '.join(reasons) or 'the input holds nothing that could be used'}")
        self.what, self.reasons = what, list(reasons)


class EpisodeError(DataError):
    """One episode that cannot be used. The others can.

    Args:
        reason: the same text for all episodes with this fault, so that they can be counted.
        detail: file, key, value and remedy of this one.
    """

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason} ({detail})" if detail else reason)
        self.reason, self.detail = reason, detail


class Skips:
    """Episodes and members that were left out, or used with a remark: a count per reason, and each in words."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.examples: list[str] = []
        self._first: dict[str, str] = {}

    def add(self, reason: str, what: str, detail: str = "") -> None:
        """Count ``what`` for a ``reason`` that has few distinct values; ``detail`` may differ each time."""
        if reason not in self.counts:
            self._first[reason] = f"{what} ({detail})" if detail else what
        self.counts[reason] += 1
        if len(self.examples) < _NAMED:
            self.examples.append(f"{what}: {reason} ({detail})" if detail else f"{what}: {reason}")

    def merge(self, other: Skips) -> None:
        """Take over what another one counted."""
        self._first = other._first | self._first
        self.counts.update(other.counts)
        self.examples = (self.examples + other.examples)[:_NAMED]

    def attempt(self, what: str, work: Callable[[], T]) -> T | None:
        """The result of ``work``; None, counted, where the episode ``what`` cannot be used."""
        try:
            return work()
        except EpisodeError as error:
            self.add(error.reason, what, error.detail)
            return None

    def reasons(self) -> list[str]:
        """A sentence per reason, the most frequent first, with the first case of each."""
        return [
            f"{count} × {reason}, e.g. {self._first.get(reason, '')}".removesuffix(", e.g. ")
            for reason, count in self.counts.most_common()
        ]

    def __len__(self) -> int:
        return self.counts.total()

    def summary(self) -> dict[str, Any]:
        """Counts and examples, for a report."""
        return {"total": len(self), "reasons": dict(self.counts.most_common()), "examples": self.examples}
