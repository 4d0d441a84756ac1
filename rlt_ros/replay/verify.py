"""Verification of rows gathered from a replay file: checksum and range, many rows at once.

A row of 2,048 half-precision token elements has 10 kB. Its CRC-32 bounds the cost: zlib reads some 4 GB/s, which makes
0.7 ms of the 1 to 2 ms that 256 rows take. Each row is therefore verified once, see `rlt_ros.replay.sound`.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rlt_ros.rlt.ranges import LARGEST, out_of_range


class GatheredRows(NamedTuple):
    """Copies of N rows.

    Attributes:
        records: (N,) structs.
        action: (N, C * A) float32.
        z: (2 N, Z) tokens as stored: N states, then N next states.
        side: (2 N, P + C * A) float32, proprioception and reference in the same order.
    """

    records: NDArray[Any]
    action: Tensor
    z: Tensor
    side: Tensor

    def checksums(self) -> NDArray[np.int64]:
        """CRC-32 (N,) of each row: its record without the checksum, its action, its state, its next state."""
        count = len(self.records)
        bare = self.records.copy()
        bare["crc"] = 0
        z, side = (table.view(torch.uint8).numpy() for table in (self.z, self.side))
        # One buffer and one call per row: six calls take 1.5 times as long.
        parts = (
            bare.view("u1").reshape(count, -1),
            self.action.view(torch.uint8).numpy(),
            z[:count],
            side[:count],
            z[count:],
            side[count:],
        )
        return np.fromiter(map(zlib.crc32, np.concatenate(parts, axis=1)), np.int64, count)

    def intact(self, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Mask (N,) of the rows whose number and checksum match."""
        return (self.records["row"] == rows) & (self.records["crc"] == self.checksums())

    def faults(self, rows: NDArray[np.int64]) -> list[str]:
        """Describe the damage of each row, a wrong checksum or a value out of range; empty for none."""
        found = ["" if whole else "does not match its checksum" for whole in self.intact(rows)]
        scalars = np.stack((self.records["reward"], self.records["discount"]), axis=1)
        if not all(map(_in_range, (self.z, self.side, self.action, torch.from_numpy(scalars)))):
            found = [fault or self._range_fault(at, scalars[at]) for at, fault in enumerate(found)]
        return found

    def _range_fault(self, at: int, scalars: NDArray[np.float32]) -> str:
        states = [at, at + len(self.records)]
        parts = {
            "action": self.action[at],
            "proprioception or reference": self.side[states],
            "token": self.z[states].float(),
            "reward or discount": scalars,
        }
        found = ((name, out_of_range(values)) for name, values in parts.items())
        return next((f"its {name} holds {wrong}" for name, wrong in found if wrong), "")


def blocks(first: int, stop: int, size: int = 256) -> Iterator[NDArray[np.int64]]:
    """Row numbers from ``first`` to before ``stop``, in arrays of at most ``size``: 2.7 MB of rows fit in a cache."""
    for start in range(first, stop, size):
        yield np.arange(start, min(start + size, stop))


def _in_range(values: Tensor) -> bool:
    """Return whether all values are in range, by their bit patterns: four times as fast as half-precision numbers.

    Patterns of one sign have the order of their magnitudes, with infinity and NaN on top. The maximum as signed
    integers is that of the positive numbers, as unsigned integers that of the negative ones.
    """
    size = values.dtype.itemsize
    signed = torch.int16 if size == 2 else torch.int32
    limit = int(torch.tensor(LARGEST, dtype=values.dtype).view(signed))
    bits = values.view(signed).numpy()
    sign = 1 << (8 * size - 1)
    return bool(bits.max() <= limit) and bool(bits.view(f"u{size}").max() <= sign | limit)
