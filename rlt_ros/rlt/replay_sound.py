"""Rows of a replay that may be sampled: verified once per process, when they are first drawn.

Verifying costs 1 to 2 ms per 256 rows of 2,048 half-precision token elements, gathering them 0.6 ms. Every batch would
cost three times as much, or opening a file of 200,000 rows 2.4 s more, reading all of it. So each row is verified when
it is first drawn, in the copy that the batch is made of, and remembered. A bit that flipped on the disk is noticed
before the learner sees its row. On average over the first pass of 5,000 rows a batch takes 2 to 4 ms, one of
verified rows 0.6 ms.
"""

from __future__ import annotations

import logging

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rlt_ros.rlt.replay_format import ReplayError
from rlt_ros.rlt.replay_map import ReplayMap
from rlt_ros.rlt.replay_verify import GatheredRows

logger = logging.getLogger(__name__)

_REPORTED = 3
"""Damaged rows that are logged one by one; `rlt-ros replay check` lists all."""


class SoundRows:
    """Remembers which rows were verified. For one thread, as sampling is."""

    def __init__(self, mapped: ReplayMap) -> None:
        self._map = mapped
        self._verified = torch.full((mapped.format.row_slots,), -1, dtype=torch.int64)
        self._damaged: set[int] = set()
        self._reported = 0

    @property
    def damaged(self) -> int:
        """Stored rows found damaged."""
        first = self._map.living()[0]
        self._damaged = {row for row in self._damaged if row >= first}
        return len(self._damaged)

    def wrong(self, rows: Tensor, gathered: GatheredRows, first: int, stop: int) -> Tensor:
        """Return (N,) True where a row must not be used.

        Args:
            rows: (N,) numbers of rows.
            gathered: copies of these rows; those from ``first`` on are of one piece.
            first: number of the oldest stored row.
            stop: number after the newest.

        Raises:
            ReplayError: not one stored row is sound.
        """
        slots = rows % self._map.format.row_slots
        unknown = self._verified[slots] != rows
        if not bool(unknown.any()):
            return unknown
        at = np.flatnonzero((unknown & (rows >= first)).numpy())
        if self._damaged:
            at = at[[row not in self._damaged for row in rows.numpy()[at].tolist()]]
        if len(at):
            self._verify(rows.numpy()[at], gathered.take(at))
        if self.damaged >= stop - first > 0:
            raise ReplayError(
                f"replay {self._map.path}: not one of its {stop - first} rows is sound; "
                "restore the file, or start a new one"
            )
        return self._verified[slots] != rows

    def _verify(self, rows: NDArray[np.int64], copies: GatheredRows) -> None:
        found = copies.faults(rows)
        sound = torch.from_numpy(rows[[not fault for fault in found]])
        self._verified[sound % self._map.format.row_slots] = sound
        for row, fault in zip(rows.tolist(), found, strict=True):
            if fault and row not in self._damaged:
                self._damaged.add(row)
                self._report(row, fault)

    def _report(self, row: int, fault: str) -> None:
        self._reported += 1
        if self._reported <= _REPORTED:
            logger.warning(
                "replay %s: row %d %s and is left out; `rlt-ros replay repair` drops it",
                self._map.path,
                row,
                fault,
            )
