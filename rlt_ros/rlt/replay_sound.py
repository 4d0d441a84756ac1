"""Rows of a replay that may be sampled: each is verified once per process, before the first draw that could use it.

Verifying 256 rows of 2,048 half-precision token elements costs 1 to 2 ms, three times as much as gathering them, so not
every batch can pay for it. The first draw verifies all rows of the file (200,000 in about 2.4 s), later ones the rows
appended since. A bit that flipped on the disk is noticed before the learner sees its row.
"""

from __future__ import annotations

import logging

import torch
from torch import Tensor

from rlt_ros.rlt.replay_format import ReplayError
from rlt_ros.rlt.replay_map import ReplayMap, memory_fence

logger = logging.getLogger(__name__)

_REPORTED = 3
"""Damaged rows that are logged one by one; `rlt-ros replay check` lists all."""


class SoundRows:
    """Verified rows of a mapped replay. For one thread, as sampling is."""

    def __init__(self, mapped: ReplayMap) -> None:
        self._map = mapped
        self._stop = 0
        self._damaged: set[int] = set()
        self._reported = 0

    @property
    def damaged(self) -> int:
        """Stored rows found damaged."""
        first = self._map.living()[0]
        self._damaged = {row for row in self._damaged if row >= first}
        return len(self._damaged)

    def living(self) -> tuple[int, int]:
        """Numbers of the oldest stored row and of the one after the newest, once all between are verified.

        Raises:
            ReplayError: there is no row, or not one is sound.
        """
        first, stop = self._map.living()
        while stop > self._stop:
            self._verify(max(first, self._stop), stop)
            first, stop = self._map.living()
        if first == stop:
            raise ReplayError(f"replay {self._map.path} holds no rows; wait until a window was appended")
        if self._damaged and self.damaged >= stop - first:
            raise ReplayError(
                f"replay {self._map.path}: not one of its {stop - first} rows is sound; "
                "restore the file, or start a new one"
            )
        return first, stop

    def excluded(self, rows: Tensor) -> Tensor:
        """Return (N,) True for each of the row numbers (N,) that is damaged."""
        return torch.isin(rows, torch.tensor(sorted(self._damaged), dtype=rows.dtype))

    def _verify(self, first: int, stop: int) -> None:
        found = list(self._map.faults(first, stop))
        memory_fence()
        # A row that was overwritten meanwhile differs, and is no damage.
        oldest = self._map.living()[0]
        for row, fault in found:
            if row >= oldest:
                self._damaged.add(row)
                self._report(row, fault)
        self._stop = stop

    def _report(self, row: int, fault: str) -> None:
        self._reported += 1
        if self._reported <= _REPORTED:
            logger.warning(
                "replay %s: row %d %s and is left out; `rlt-ros replay repair` drops it",
                self._map.path,
                row,
                fault,
            )
