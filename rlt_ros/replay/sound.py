"""Verification of a replay's rows, once per process and row, before the first draw that could use the row.

Verifying 256 rows of 2,048 half-precision token elements costs 1 to 2 ms, three times as much as gathering them, too
much for every batch. The first draw verifies all rows of the file (200,000 in about 2.4 s), later ones the rows
appended since. A flipped bit on the disk is detected before its row is sampled.
"""

from __future__ import annotations

import logging

import torch
from torch import Tensor

from rlt_ros.replay.format import ReplayError
from rlt_ros.replay.map import ReplayMap, memory_fence

logger = logging.getLogger(__name__)

_MAX_LOGGED_ROWS = 3
"""Damaged rows that are logged individually; `rlt-ros replay check` lists all."""


class SoundRows:
    """Verified rows of a mapped replay. Not thread-safe."""

    def __init__(self, mapped: ReplayMap) -> None:
        self._map = mapped
        self._stop = 0
        self._damaged: set[int] = set()
        self._reported = 0

    @property
    def damaged(self) -> int:
        """Number of damaged stored rows."""
        first = self._map.valid_range()[0]
        self._damaged = {row for row in self._damaged if row >= first}
        return len(self._damaged)

    def valid_range(self) -> tuple[int, int]:
        """Verify new rows; returns the numbers of the oldest stored row and of the row after the newest.

        Raises:
            ReplayError: there is no row, or none is valid.
        """
        first, stop = self._map.valid_range()
        while stop > self._stop:
            self._verify(max(first, self._stop), stop)
            first, stop = self._map.valid_range()
        if first == stop:
            raise ReplayError(f"replay {self._map.path} holds no rows; wait until a window was appended")
        if self._damaged and self.damaged >= stop - first:
            raise ReplayError(
                f"replay {self._map.path}: none of its {stop - first} rows is valid; "
                "restore the file, or start a new one"
            )
        return first, stop

    def excluded(self, rows: Tensor) -> Tensor:
        """Mask (N,) of the damaged rows among the row numbers (N,)."""
        return torch.isin(rows, torch.tensor(sorted(self._damaged), dtype=rows.dtype))

    def _verify(self, first: int, stop: int) -> None:
        found = list(self._map.faults(first, stop))
        memory_fence()
        # A row that was overwritten meanwhile differs without being damaged.
        oldest = self._map.valid_range()[0]
        for row, fault in found:
            if row >= oldest:
                self._damaged.add(row)
                self._report(row, fault)
        self._stop = stop

    def _report(self, row: int, fault: str) -> None:
        self._reported += 1
        if self._reported <= _MAX_LOGGED_ROWS:
            logger.warning(
                "replay %s: row %d %s and is excluded; `rlt-ros replay repair` drops it",
                self._map.path,
                row,
                fault,
            )
