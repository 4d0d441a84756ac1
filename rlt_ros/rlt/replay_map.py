"""The mapped replay file: typed views of its regions, the commit counter, checksums, repair after a crash.

Order of writing is what makes it safe. The writer fills slots that no stored row uses, then raises one
counter. Killed before that, the rows do not exist; killed after, they do, for the kernel keeps what was
written to a shared mapping. Only a power failure can tear a committed row, and then the checksums find it.
"""

from __future__ import annotations

import logging
import mmap
import threading
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rlt_ros.rlt.ranges import out_of_range
from rlt_ros.rlt.replay_format import PAGE, SPARE, ReplayFormat, ReplayFormatError

logger = logging.getLogger(__name__)

_COMMITTED, _SYNCED = 0, 1
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_FENCE = threading.Lock()


def memory_fence() -> None:
    """Keep the processor from moving memory accesses from one side of this call to the other.

    x86 keeps stores in order by itself; ARM, in every robot's computer, does not. Releasing a lock and taking
    it again is the barrier that Python has.
    """
    with _FENCE:
        pass
    with _FENCE:
        pass


def _boot_id() -> NDArray[np.uint8]:
    return np.frombuffer(_BOOT_ID.read_bytes()[:36], "u1")


class ReplayMap:
    """Views of a replay file.

    Attributes:
        format: the file's format.
        records: (row slots,) structs, see :attr:`ReplayFormat.record`.
        action: (row slots, C * A) float32.
        z: (state slots, Z) tokens as stored.
        rest: (state slots, P + C * A) float32, proprioception and reference.
    """

    def __init__(self, path: Path, found: ReplayFormat, *, writable: bool) -> None:
        self.path, self.format = path, found
        with open(path, "r+b" if writable else "rb") as file:
            access = mmap.ACCESS_WRITE if writable else mmap.ACCESS_READ
            self._map = mmap.mmap(file.fileno(), found.nbytes, access=access)
        self._counters = np.frombuffer(self._map, "<u8", 2, PAGE)
        self._boot = np.frombuffer(self._map, "u1", 36, PAGE + 16)
        self.records = self._view("records")
        self._tails = self.records["tail"]
        self._z_bytes, self._rest, self._action = self._view("z"), self._view("rest"), self._view("action")
        with warnings.catch_warnings():
            # torch warns of a reader's read-only memory; nothing here writes to it.
            warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
            self.z: Tensor = torch.from_numpy(self._z_bytes).view(found.z_dtype)
            self.rest: Tensor = torch.from_numpy(self._rest)
            self.action: Tensor = torch.from_numpy(self._action)
            self._record_bytes = torch.from_numpy(self.records.view("u1").reshape(len(self.records), -1))

    def _view(self, name: str) -> NDArray[Any]:
        offset, dtype, shape = self.format.regions[name]
        return np.frombuffer(self._map, dtype, int(np.prod(shape)), offset).reshape(shape)

    def gather_records(self, slots: Tensor) -> NDArray[Any]:
        """Copies of the records in ``slots``; five times as fast as NumPy's indexing of structs."""
        return self._record_bytes.index_select(0, slots).numpy().view(self.records.dtype).reshape(-1)

    @property
    def committed(self) -> int:
        """Rows committed since the file was created."""
        return int(self._counters[_COMMITTED])

    def living(self) -> tuple[int, int]:
        """Numbers of the oldest stored row and of the one after the newest."""
        while True:
            stop = self.committed
            if stop == 0:
                return 0, 0
            memory_fence()
            first = int(self._tails[(stop - 1) % self.format.row_slots])
            memory_fence()
            if (
                self.committed - stop < self.format.capacity
            ):  # else that record was written over in the meantime
                return first, stop

    def stored(self) -> tuple[int, int]:
        """The same as `living`, of a file whose newest record may be damaged: its word is taken if it can be true."""
        stop = self.committed
        oldest = max(0, stop - self.format.capacity)
        first, _ = self.living()
        return (first if oldest <= first < stop and self._is_intact(stop - 1) else oldest), stop

    def publish(self, stop: int) -> None:
        """Commit every row before number ``stop``."""
        memory_fence()
        self._counters[_COMMITTED] = stop

    def flush(self) -> None:
        """Wait until everything committed is on the disk, which protects it against power failure as well."""
        committed = self.committed
        self._map.flush()
        self._counters[_SYNCED] = committed
        self._map.flush()

    def checksum(self, record: NDArray[Any]) -> int:
        """CRC-32 of a row: its record, its action and both its states."""
        bare = record.copy()
        bare["crc"] = 0
        total = zlib.crc32(bare.tobytes())
        total = zlib.crc32(self._action[int(record["row"]) % self.format.row_slots].data, total)
        for name in ("state", "next_state"):
            slot = int(record[name]) % self.format.state_slots
            total = zlib.crc32(self._rest[slot].data, zlib.crc32(self._z_bytes[slot].data, total))
        return total

    def repair(self) -> None:
        """Drop the rows that a crash has torn; called by the writer before anything else.

        While the machine has not been started anew, the kernel still has every page and at most the newest
        rows are suspect. After a power failure every row is, unless all were flushed.

        Raises:
            ReplayFormatError: not one row is whole.
        """
        stop = self.committed
        oldest = max(0, stop - self.format.capacity)
        boot = _boot_id()
        survived = np.array_equal(self._boot, boot) or int(self._counters[_SYNCED]) == stop
        suspect = max(oldest, stop - SPARE) if survived else oldest
        intact = [self._is_intact(row) for row in range(suspect, stop)]
        if suspect > oldest and not any(intact):
            suspect, intact = oldest, [self._is_intact(row) for row in range(oldest, stop)]
        if not all(intact):
            self._keep(oldest, suspect, intact)
        self.mark_boot()

    def mark_boot(self) -> None:
        """Note that this start of the machine writes the file: until it ends, the kernel has every page."""
        self._boot[:] = _boot_id()

    def fault(self, row: int) -> str:
        """Describe the damage of a stored row: a checksum that differs or a value out of range; empty for none."""
        if not self._is_intact(row):
            return "does not match its checksum"
        record = self.records[row % self.format.row_slots]
        states = [int(record[name]) % self.format.state_slots for name in ("state", "next_state")]
        parts = {
            "action": self._action[row % self.format.row_slots],
            "proprioception or reference": self._rest[states],
            "token": self.z[states].float().numpy(),
            "reward or discount": np.array([record["reward"], record["discount"]]),
        }
        for name, values in parts.items():
            wrong = out_of_range(values)
            if wrong:
                return f"its {name} holds {wrong}"
        return ""

    def _is_intact(self, row: int) -> bool:
        record = self.records[row % self.format.row_slots]
        return int(record["row"]) == row and int(record["crc"]) == self.checksum(record)

    def _keep(self, oldest: int, suspect: int, intact: list[bool]) -> None:
        """Keep the longest run of whole rows; rows from ``oldest`` to ``suspect`` are taken for whole."""
        first, stop, start = oldest, oldest, oldest
        for row, whole in [*enumerate(intact, suspect), (suspect + len(intact), False)]:
            if not whole:
                if row - start > stop - first:
                    first, stop = start, row
                start = row + 1
        if first == stop:
            raise ReplayFormatError(
                f"replay {self.path}: not one of its {len(intact)} rows is whole; "
                "restore the file or start a new one"
            )
        slot = (stop - 1) % self.format.row_slots
        record = self.records[slot : slot + 1]
        record["tail"] = np.maximum(record["tail"], first)
        record["crc"] = self.checksum(record[0])
        logger.warning(
            "replay %s: dropped the torn rows behind row %d and before row %d", self.path, stop - 1, first
        )
        self.publish(stop)

    def close(self) -> None:
        """Unmap the file. Batches are copies and stay valid."""
        del self.records, self.action, self.z, self.rest, self._record_bytes
        del self._tails, self._z_bytes, self._rest, self._action, self._counters, self._boot
        self._map.close()
