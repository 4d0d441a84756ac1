"""Counter page of a replay file; each counter has its complement, which reveals flipped bits.

    bytes  0..15   committed rows, rows known to be on the disk
    bytes 16..51   boot id of the writer
    bytes 64..87   complements of both counters and of the boot id's CRC-32; all zero in files of earlier versions

The complement is stored before its counter. A process killed in between leaves two different numbers; the larger one is
right, because every row before it was complete.
"""

from __future__ import annotations

import mmap
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rlt_ros.replay.format import PAGE

_COMMITTED, _SYNCED, _BOOT = 0, 1, 2
_NAMES = ("count of stored rows", "count of flushed rows", "boot id")
_ALL = 2**64 - 1
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class CounterPage:
    """Views of the page in a mapped file. The rows decide between a counter and a different copy."""

    def __init__(self, memory: mmap.mmap) -> None:
        self._counters = np.frombuffer(memory, "<u8", 2, PAGE)
        self._boot = np.frombuffer(memory, "u1", 36, PAGE + 16)
        self._complements = np.frombuffer(memory, "<u8", 3, PAGE + 64)

    @property
    def committed(self) -> tuple[int, int]:
        """Count of committed rows and its copy; the same number twice in files of earlier versions."""
        return self._pair(_COMMITTED)

    def commit(self, stop: int) -> None:
        """Commit every row before number ``stop``; the caller has fenced their bytes."""
        self._complements[_COMMITTED] = stop ^ _ALL
        self._counters[_COMMITTED] = stop

    def is_flushed(self, stop: int) -> bool:
        """Return whether every row before number ``stop`` is known to be on the disk."""
        return self._pair(_SYNCED) == (stop, stop)

    def note_flushed(self, stop: int) -> None:
        """Record that every row before number ``stop`` is on the disk."""
        self._complements[_SYNCED] = stop ^ _ALL
        self._counters[_SYNCED] = stop

    def is_of_this_boot(self) -> bool:
        """Return whether the machine has not been restarted since the writer recorded its boot id."""
        return np.array_equal(self._boot, _boot_id())

    def note_boot(self) -> None:
        """Record the boot id: until the machine restarts, the kernel has every page."""
        boot = _boot_id()
        self._complements[_BOOT] = zlib.crc32(boot.data) ^ _ALL
        self._boot[:] = boot

    def has_copies(self) -> bool:
        """Return whether the page has complements; earlier versions wrote none."""
        return bool(self._complements.any())

    def faults(self) -> list[str]:
        """Describe each number that differs from its copy."""
        return [
            f"the {_NAMES[which]} {number} differs from its copy {copy}"
            for which in (_COMMITTED, _SYNCED, _BOOT)
            for number, copy in (self._pair(which),)
            if number != copy
        ]

    def _pair(self, which: int) -> tuple[int, int]:
        number = zlib.crc32(self._boot.data) if which == _BOOT else int(self._counters[which])
        complement = int(self._complements[which])
        return number, (complement ^ _ALL if complement else number)


def _boot_id() -> NDArray[np.uint8]:
    return np.frombuffer(_BOOT_ID.read_bytes()[:36], "u1")
