"""Rows of a replay that may be sampled: verified once per process, when they are first drawn.

Verifying a row of 2,048 token elements takes some 0.15 ms, measured: half a minute for 200,000 rows when the file is
opened, and 50 times the gathering if every batch were verified. So each row is verified when it is first drawn, and
remembered. A bit that flipped on the disk is noticed before the learner sees its row. Batches cost more until the rows
were drawn once (4 ms in place of 0.7 ms for 256 rows, on average over the first pass of 5,000) and the same afterwards.
"""

from __future__ import annotations

import logging

import numpy as np
import torch
from torch import Tensor

from rlt_ros.rlt.replay_format import ReplayError
from rlt_ros.rlt.replay_map import ReplayMap, memory_fence

logger = logging.getLogger(__name__)

_REPORTED = 3
"""Damaged rows that are logged one by one; `rlt-ros replay check` lists all."""


class SoundRows:
    """Remembers which rows were verified. For one thread, as sampling is."""

    def __init__(self, mapped: ReplayMap) -> None:
        self._map = mapped
        self._verified = torch.full((mapped.format.row_slots,), -1, dtype=torch.int64)
        self._damaged: set[int] = set()

    @property
    def damaged(self) -> int:
        """Stored rows found damaged."""
        first = self._map.living()[0]
        self._damaged = {row for row in self._damaged if row >= first}
        return len(self._damaged)

    def wrong(self, rows: Tensor, first: int, stop: int) -> Tensor:
        """Return (N,) True where a row must not be used.

        Args:
            rows: (N,) numbers of rows.
            first: number of the oldest stored row.
            stop: number after the newest.

        Raises:
            ReplayError: not one stored row is sound.
        """
        unknown = self._verified[rows % self._map.format.row_slots] != rows
        if not bool(unknown.any()):
            return unknown
        for row in np.unique(rows[unknown].numpy()).tolist():
            if row >= first and row not in self._damaged:
                self._verify(row)
        if self.damaged >= stop - first > 0:
            raise ReplayError(
                f"replay {self._map.path}: not one of its {stop - first} rows is sound; "
                "restore the file, or start a new one"
            )
        return self._verified[rows % self._map.format.row_slots] != rows

    def _verify(self, row: int) -> None:
        fault = self._map.fault(row)
        memory_fence()
        if row < self._map.living()[0]:
            return  # overwritten while it was read
        if not fault:
            self._verified[row % self._map.format.row_slots] = row
            return
        self._damaged.add(row)
        if len(self._damaged) <= _REPORTED:
            logger.warning(
                "replay %s: row %d %s and is left out; `rlt-ros replay repair` drops it",
                self._map.path,
                row,
                fault,
            )
