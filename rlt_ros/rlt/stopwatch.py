"""Wall-clock time that a run has taken over all its starts."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

from rlt_ros.rlt.storage import replacing

WALL_FILE = "wall_seconds"


class Stopwatch:
    """Wall-clock seconds of a run, this start and those before it.

    Args:
        folder: of the run; the time is kept in its file `WALL_FILE`.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / WALL_FILE
        self._before = 0.0
        with contextlib.suppress(FileNotFoundError, ValueError):
            self._before = float(self._path.read_text(encoding="utf-8"))
        self._start = time.monotonic()

    @property
    def seconds(self) -> float:
        """Time up to now."""
        return self._before + time.monotonic() - self._start

    def save(self) -> None:
        """Keep the time for the next start."""
        with replacing(self._path) as file:
            file.write_text(f"{self.seconds:.3f}", encoding="utf-8")
