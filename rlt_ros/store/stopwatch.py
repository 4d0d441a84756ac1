"""Wall-clock time of a run, summed over all its starts."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

from rlt_ros.store.storage import StorageError, replacing

WALL_FILE = "wall_seconds"

KEEP_PERIOD = 5.0
"""s, saving period of a run: largest wall time lost by a kill, for one small file per period."""


class Stopwatch:
    """Wall-clock seconds of a run, this start and earlier ones.

    A killed start loses the time since the last :meth:`save` or :meth:`keep`.

    Args:
        folder: folder of the run; its file `WALL_FILE` holds the time.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / WALL_FILE
        self._before = 0.0
        with contextlib.suppress(FileNotFoundError, ValueError):
            self._before = float(self._path.read_text(encoding="utf-8"))
        self._start = self._saved = time.monotonic()

    @property
    def seconds(self) -> float:
        """Total time until now."""
        return self._before + time.monotonic() - self._start

    def save(self) -> None:
        """Save the time for the next start; a full disk keeps the previous one."""
        self._saved = time.monotonic()
        with contextlib.suppress(StorageError), replacing(self._path) as file:
            file.write_text(f"{self.seconds:.3f}", encoding="utf-8")

    def keep(self) -> None:
        """Save once per :data:`KEEP_PERIOD`; cheap enough for every iteration."""
        if time.monotonic() - self._saved >= KEEP_PERIOD:
            self.save()
