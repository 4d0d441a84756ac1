"""Wall-clock time that a run has taken over all its starts."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

from rlt_ros.rlt.storage import StorageError, replacing

WALL_FILE = "wall_seconds"

KEEP_PERIOD = 5.0
"""s between two savings while a run works: what a kill may cost of its wall time, for one small file each time."""


class Stopwatch:
    """Wall-clock seconds of a run, this start and those before it.

    A start that is killed loses what passed since :meth:`save` or :meth:`keep` was called last.

    Args:
        folder: of the run; the time is kept in its file `WALL_FILE`.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / WALL_FILE
        self._before = 0.0
        with contextlib.suppress(FileNotFoundError, ValueError):
            self._before = float(self._path.read_text(encoding="utf-8"))
        self._start = self._saved = time.monotonic()

    @property
    def seconds(self) -> float:
        """Time up to now."""
        return self._before + time.monotonic() - self._start

    def save(self) -> None:
        """Keep the time for the next start; a disk without room for it keeps the time of the last call."""
        self._saved = time.monotonic()
        with contextlib.suppress(StorageError), replacing(self._path) as file:
            file.write_text(f"{self.seconds:.3f}", encoding="utf-8")

    def keep(self) -> None:
        """Save, unless that was done a moment ago; for calls between two pieces of work."""
        if time.monotonic() - self._saved >= KEEP_PERIOD:
            self.save()
