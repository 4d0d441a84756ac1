"""Mapped replay file: typed views of its regions, the commit counter, checksums, repair after a crash.

The order of writing makes it safe. The writer fills slots that no stored row uses, then raises one counter. A kill
before that loses the new rows; a kill after it does not, because the kernel keeps the pages of a shared mapping. Only a
power failure can tear a committed row, and the checksums detect it.
"""

from __future__ import annotations

import logging
import mmap
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rlt_ros.replay.counters import CounterPage
from rlt_ros.replay.format import WRITE_AHEAD_ROWS, ReplayFormat, ReplayFormatError
from rlt_ros.replay.verify import GatheredRows, blocks

logger = logging.getLogger(__name__)

_FENCE = threading.Lock()


def memory_fence() -> None:
    """Keep the processor from moving memory accesses from one side of this call to the other.

    x86 keeps stores in order; ARM, common in robots' computers, does not. Releasing a lock and taking it again is the
    memory barrier available in Python.
    """
    with _FENCE:
        pass
    with _FENCE:
        pass


class ReplayMap:
    """Views of a replay file.

    Attributes:
        format: the file's format.
        records: (row slots,) structs, see :attr:`ReplayFormat.record`.
        action: (row slots, C * A) float32.
        z: (state slots, Z) tokens as stored.
        side: (state slots, P + C * A) float32, proprioception and reference.
    """

    def __init__(self, path: Path, found: ReplayFormat, *, writable: bool) -> None:
        self.path, self.format = path, found
        with open(path, "r+b" if writable else "rb") as file:
            access = mmap.ACCESS_WRITE if writable else mmap.ACCESS_READ
            self._map = mmap.mmap(file.fileno(), found.nbytes, access=access)
        self._counters = CounterPage(self._map)
        self.records = self._view("records")
        self._oldest_rows = self.records["oldest_row"]
        with warnings.catch_warnings():
            # torch warns about a reader's read-only memory, to which no code here writes.
            warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
            self.z: Tensor = torch.from_numpy(self._view("z")).view(found.z_dtype)
            self.side: Tensor = torch.from_numpy(self._view("side"))
            self.action: Tensor = torch.from_numpy(self._view("action"))
            self._record_bytes = torch.from_numpy(self.records.view("u1").reshape(len(self.records), -1))

    def _view(self, name: str) -> NDArray[Any]:
        offset, dtype, shape = self.format.regions[name]
        return np.frombuffer(self._map, dtype, int(np.prod(shape)), offset).reshape(shape)

    def gather_records(self, slots: Tensor) -> NDArray[Any]:
        """Copies of the records in ``slots``; five times as fast as NumPy's indexing of structs."""
        return self._record_bytes.index_select(0, slots).numpy().view(self.records.dtype).reshape(-1)

    def gather(self, rows: Tensor) -> GatheredRows:
        """Copies of the rows with these numbers, valid only if all of them are still stored afterwards."""
        slots = rows % self.format.row_slots
        records = self.gather_records(slots)
        states = self._state_slots(records)
        z, side = (table.index_select(0, states) for table in (self.z, self.side))
        return GatheredRows(records, self.action.index_select(0, slots), z, side)

    def _state_slots(self, records: NDArray[Any]) -> Tensor:
        numbers = np.concatenate((records["state"], records["next_state"]))
        return torch.from_numpy(numbers % self.format.state_slots)

    @property
    def committed(self) -> int:
        """Rows committed since the file was created."""
        number, copy = self._counters.committed
        return number if number == copy else self._recounted(number, copy)

    def _recounted(self, number: int, copy: int) -> int:
        """Right one of two different counts: the larger one whose newest row is stored."""
        for count in sorted((number, copy), reverse=True):
            if 0 < count < 2**63 and self._is_intact(count - 1):
                return count
        return self._newest_stop()

    def _newest_stop(self) -> int:
        """Number after the newest valid row in any slot, committed or not; 0 if the newest four are damaged."""
        newest = np.unique(self.records["row"])[:-5:-1].tolist()
        return next((row + 1 for row in newest if row >= 0 and self._is_intact(row)), 0)

    def _miscounted(self) -> int:
        """Number of rows by the newest stored one if the page has no copies and its count is wrong; else 0.

        A killed writer leaves up to :data:`WRITE_AHEAD_ROWS` valid rows that it has not committed.
        """
        if self._counters.has_copies():
            return 0
        newest = self._newest_stop()
        return newest if newest and abs(newest - self.committed) > WRITE_AHEAD_ROWS else 0

    def counter_faults(self) -> list[str]:
        """Describe the damage of the counter page."""
        newest = self._miscounted()
        uncounted = (
            [f"the count of stored rows is {self.committed}, and row {newest - 1} is stored"]
            if newest
            else []
        )
        return self._counters.faults() + uncounted

    def require_count(self) -> None:
        """Log damaged counters that their copies correct.

        Raises:
            ReplayFormatError: the count of rows is wrong and has no copy.
        """
        if self._miscounted():
            raise ReplayFormatError(
                f"replay {self.path}: {self.counter_faults()[-1]}; run `rlt-ros replay repair {self.path}`"
            )
        for fault in self.counter_faults():
            logger.warning("replay %s: %s; its %d rows are used", self.path, fault, self.committed)

    def mend_counters(self) -> None:
        """Write the right count of rows, with its copy; for the writer. The next flush updates the flushed count."""
        damaged = bool(self._counters.faults())
        self._counters.commit(self._miscounted() or self.committed)
        if damaged:
            self._counters.note_flushed(0)

    def valid_range(self) -> tuple[int, int]:
        """Numbers of the oldest stored row and of the row after the newest."""
        while True:
            stop = self.committed
            if stop == 0:
                return 0, 0
            memory_fence()
            first = int(self._oldest_rows[(stop - 1) % self.format.row_slots])
            memory_fence()
            # Otherwise that record was overwritten in the meantime.
            if self.committed - stop < self.format.capacity:
                return first, stop

    def checked_range(self) -> tuple[int, int]:
        """Range as in `valid_range`, of a file whose newest record may be damaged."""
        stop = self.committed
        oldest = max(0, stop - self.format.capacity)
        first, _ = self.valid_range()
        return (first if oldest <= first < stop and self._is_intact(stop - 1) else oldest), stop

    def publish(self, stop: int) -> None:
        """Commit every row before number ``stop``."""
        memory_fence()
        self._counters.commit(stop)

    def flush(self) -> None:
        """Wait until all committed rows are on the disk, safe from a power failure."""
        committed = self.committed
        self._map.flush()
        self._counters.note_flushed(committed)
        self._map.flush()

    def checksum(self, record: NDArray[Any]) -> int:
        """CRC-32 of the row with this record, with action and states from the file."""
        slot, states = [int(record["row"]) % self.format.row_slots], self._state_slots(record.reshape(1))
        parts = GatheredRows(record.reshape(1), self.action[slot], self.z[states], self.side[states])
        return int(parts.checksums()[0])

    def repair(self) -> None:
        """Drop rows torn by a crash; the writer's first call.

        Until the machine restarts, the kernel has every page and only the newest rows are suspect. After a power
        failure all rows are suspect, unless they were flushed.

        Raises:
            ReplayFormatError: no row is valid.
        """
        self.require_count()
        flushed = self._counters.is_flushed(self.committed)
        self.mend_counters()
        stop = self.committed
        oldest = max(0, stop - self.format.capacity)
        suspect = (
            max(oldest, stop - WRITE_AHEAD_ROWS) if flushed or self._counters.is_of_this_boot() else oldest
        )
        intact = self._intact(suspect, stop)
        if suspect > oldest and not any(intact):
            suspect, intact = oldest, self._intact(oldest, stop)
        if not all(intact):
            self._truncate_to_longest_valid_run(oldest, suspect, intact)
        self.mark_boot()

    def mark_boot(self) -> None:
        """Record the boot id: until the machine restarts, the kernel has every page."""
        self._counters.note_boot()

    def faults(self, first: int, stop: int) -> Iterator[tuple[int, str]]:
        """Number and description of each damaged row from ``first`` to before ``stop``."""
        for rows in blocks(first, stop):
            found = self.gather(torch.from_numpy(rows)).faults(rows)
            yield from ((int(row), fault) for row, fault in zip(rows, found, strict=True) if fault)

    def _intact(self, first: int, stop: int) -> list[bool]:
        return [
            bool(whole)
            for rows in blocks(first, stop)
            for whole in self.gather(torch.from_numpy(rows)).intact(rows)
        ]

    def _is_intact(self, row: int) -> bool:
        return self._intact(row, row + 1)[0]

    def _truncate_to_longest_valid_run(self, oldest: int, suspect: int, intact: list[bool]) -> None:
        """Keep the longest run of valid rows; those from ``oldest`` to ``suspect`` are assumed valid."""
        first, stop, start = oldest, oldest, oldest
        for row, whole in [*enumerate(intact, suspect), (suspect + len(intact), False)]:
            if not whole:
                if row - start > stop - first:
                    first, stop = start, row
                start = row + 1
        if first == stop:
            raise ReplayFormatError(
                f"replay {self.path}: none of its {len(intact)} rows is valid; restore the file or start a new one"
            )
        slot = (stop - 1) % self.format.row_slots
        record = self.records[slot : slot + 1]
        record["oldest_row"] = np.maximum(record["oldest_row"], first)
        record["crc"] = self.checksum(record[0])
        logger.warning(
            "replay %s: dropped the torn rows behind row %d and before row %d", self.path, stop - 1, first
        )
        self.publish(stop)

    def close(self) -> None:
        """Unmap the file. Batches, being copies, stay valid."""
        del self.records, self.action, self.z, self.side, self._record_bytes
        del self._oldest_rows, self._counters
        self._map.close()
