"""TensorBoard on a full disk, in a process of its own, for the library's thread lives as long as the process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PROGRAM = """
import logging, resource, signal, sys
from pathlib import Path
from rlt_ros.experiments.curves import Curves
logging.basicConfig()
room, folder = int(sys.argv[1]), Path(sys.argv[2])
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (room, resource.RLIM_INFINITY))
curves = Curves(folder)
for step in range(20_000):
    curves.add("learner/q", 0.5, step)
curves.close()
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
again = Curves(folder)
again.add("learner/q", 0.5, 20_000)
again.close()
print("trained to the end")
"""


def run(room: int, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", PROGRAM, str(room), str(folder)], capture_output=True, text=True, timeout=120
    )


def test_a_full_disk_ends_the_curves_with_one_warning_and_not_the_run(tmp_path: Path) -> None:
    for room in (0, 10_000):
        done = run(room, tmp_path / str(room))
        assert done.stdout.strip() == "trained to the end", done.stderr
        assert done.returncode == 0
        assert done.stderr.count("could not be written") == 1, done.stderr
        assert f"{tmp_path / str(room)}: TensorBoard's curves" in done.stderr
