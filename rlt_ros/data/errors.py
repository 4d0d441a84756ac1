"""What can be wrong with a data set: errors that end the work, and episodes that are left out and counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")

_NAMED = 20  # reasons that are kept in words; the rest are only counted


class DataError(ValueError):
    """A data set, an archive or an episode that cannot be used; the message says where and what to do."""


class MissingPartError(DataError):
    """A part of a split archive is not there."""


class DamagedArchiveError(DataError):
    """An archive whose bytes are not what its format demands; the message names part and offset."""


class OversizeError(DataError):
    """An archive that would grow beyond what data of its kind needs."""


class EpisodeError(DataError):
    """One episode that cannot be used. The others can."""


class Skips:
    """Episodes and members that were left out: how many for which reason, and the first of them in words."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.examples: list[str] = []

    def add(self, reason: str, what: str) -> None:
        """Count ``what`` as left out for a ``reason`` that has few distinct values."""
        self.counts[reason] += 1
        if len(self.examples) < _NAMED:
            self.examples.append(f"{what}: {reason}")

    def merge(self, other: Skips) -> None:
        """Take over what another one counted."""
        self.counts.update(other.counts)
        self.examples = (self.examples + other.examples)[:_NAMED]

    def attempt(self, what: str, work: Callable[[], T]) -> T | None:
        """The result of ``work``; None, counted, where the episode ``what`` cannot be used."""
        try:
            return work()
        except EpisodeError as error:
            self.add(str(error), what)
            return None

    def __len__(self) -> int:
        return self.counts.total()

    def summary(self) -> dict[str, Any]:
        """Counts and examples, for a report."""
        return {"total": len(self), "reasons": dict(self.counts.most_common()), "examples": self.examples}
