from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rlt_ros.store import stopwatch
from rlt_ros.store.stopwatch import WALL_FILE, Stopwatch


def test_a_kill_costs_the_time_since_it_was_kept_last(tmp_path: Path) -> None:
    (tmp_path / WALL_FILE).write_text("100.0")
    source = (
        "import os, signal, sys\nfrom pathlib import Path\nfrom rlt_ros.store import stopwatch\n"
        "stopwatch.KEEP_PERIOD = 0.0\nrunning = stopwatch.Stopwatch(Path(sys.argv[1]))\n"
        "while running.seconds < 100.01:\n    pass\nrunning.keep()\nos.kill(os.getpid(), signal.SIGKILL)"
    )
    killed = subprocess.run([sys.executable, "-c", source, str(tmp_path)])
    assert killed.returncode == -signal.SIGKILL
    assert Stopwatch(tmp_path).seconds > 100.0
    assert float((tmp_path / WALL_FILE).read_text()) > 100.0


def test_a_moment_after_it_was_kept_nothing_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 50.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    running = Stopwatch(tmp_path)
    running.keep()
    assert not (tmp_path / WALL_FILE).exists()
    now += stopwatch.KEEP_PERIOD
    running.keep()
    assert float((tmp_path / WALL_FILE).read_text()) == stopwatch.KEEP_PERIOD
    os.remove(tmp_path / WALL_FILE)
    running.keep()
    assert not (tmp_path / WALL_FILE).exists()
