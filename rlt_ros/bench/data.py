"""``rlt-ros bench data``: split archives read as streams, next to ``cat parts | tar xz`` to ``/dev/null``.

A synthetic archive of each layout is packed and cut into parts of odd sizes. A separate process reads it twice, like
users: once for the catalogue, once for the episodes, and their joint values are checked against the truth. In turn,
the shell's tools inflate the same parts. Wall and processor time are reported; on a busy machine, compare the latter.
"""

from __future__ import annotations

import dataclasses
import json
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rlt_ros.bench.synthetic_data import LAYOUTS, SyntheticSpec, pack, truth, write
from rlt_ros.data.source import DataSource, open_source

# Rows per episode; enough images for videos of some MB.
ROWS = 30
SIZE = (360, 480)
# Without a common divisor.
PART_BYTES = (33_554_393, 21_000_011, 7_777_777)
MEMORY_MB = 500
RATIO = 0.7


def run(megabytes: int = 200, rounds: int = 3, layouts: Sequence[str] = LAYOUTS) -> dict[str, Any]:
    """Measure every layout.

    Args:
        megabytes: approximate size of all archives together.
        rounds: turns of each contender.
        layouts: to measure.

    Returns:
        For each layout ``mb``, ``parts``, ``peak_mb`` and ``start_mb`` (resident memory of the reading process, and
        that before the first byte), ``mb_per_s`` of ``catalogue``, ``episodes`` and ``tar`` on the wall clock,
        ``ratio`` and ``ratio_cpu`` of the slower pass to ``tar``; then the worst of each, and ``missed``.
    """
    result: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="rlt-bench-") as folder:
        for layout in layouts:
            home = Path(folder) / layout
            home.mkdir()
            result[layout] = _measure(home, layout, megabytes / len(layouts), rounds)
            shutil.rmtree(home)
    figures = [result[layout] for layout in layouts]
    worst = {
        "peak_mb": max(figure["peak_mb"] for figure in figures),
        "ratio": min(figure["ratio"] for figure in figures),
        "ratio_cpu": min(figure["ratio_cpu"] for figure in figures),
    }
    missed = []
    if worst["peak_mb"] > MEMORY_MB:
        missed.append(f"peak_mb is {worst['peak_mb']:.0f}, above {MEMORY_MB}")
    if worst["ratio_cpu"] < RATIO:
        missed.append(f"ratio_cpu is {worst['ratio_cpu']:.2f}, below {RATIO}")
    return {**result, **worst, "missed": missed}


def _measure(home: Path, layout: str, megabytes: float, rounds: int) -> dict[str, Any]:
    parts = _make(home, layout, megabytes)
    ours, theirs = [], []
    for number in range(rounds):
        work = home / f"work{number}"
        command = [sys.executable, "-m", __name__, str(work), layout, *map(str, parts)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        ours.append(json.loads(done.stdout.splitlines()[-1]))
        theirs.append(_tar(parts))
    mb = sum(path.stat().st_size for path in parts) / 1e6

    def middle(values: list[float]) -> float:
        return statistics.median(values)

    slower = {
        clock: max(middle([one[f"{step}_{clock}"] for one in ours]) for step in ("catalogue", "episodes"))
        for clock in ("wall", "cpu")
    }
    return {
        "mb": mb,
        "parts": len(parts),
        "episodes": ours[0]["episodes"],
        "start_mb": max(one["start_mb"] for one in ours),
        "peak_mb": max(one["peak_mb"] for one in ours),
        "mb_per_s": {
            "catalogue": mb / middle([one["catalogue_wall"] for one in ours]),
            "episodes": mb / middle([one["episodes_wall"] for one in ours]),
            "tar": mb / middle([wall for wall, _ in theirs]),
        },
        "ratio": middle([wall for wall, _ in theirs]) / slower["wall"],
        "ratio_cpu": middle([cpu for _, cpu in theirs]) / slower["cpu"],
    }


def _make(home: Path, layout: str, megabytes: float) -> list[Path]:
    """Write an archive of about this size, in parts."""
    one = SyntheticSpec(episodes=1, rows=ROWS, size=SIZE, noise=True)
    write(home / "one", layout, one)
    each = sum(path.stat().st_size for path in (home / "one").rglob("*") if path.is_file()) / 1e6
    episodes = max(2, round(megabytes / each))
    write(home / "data", layout, dataclasses.replace(one, episodes=episodes))
    parts = pack(home / "data", home / f"{layout}.tar.gz", PART_BYTES)
    shutil.rmtree(home / "data")
    return parts


def _tar(parts: Sequence[Path]) -> tuple[float, float]:
    """Wall and processor seconds of the shell's tools."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.perf_counter()
    with subprocess.Popen(["cat", *map(str, parts)], stdout=subprocess.PIPE) as cat:
        subprocess.run(["tar", "-xzO"], stdin=cat.stdout, stdout=subprocess.DEVNULL, check=True)
    wall = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _read(work: Path, layout: str, parts: Sequence[Path]) -> dict[str, float]:
    """Figures of the reading process, measured by itself."""
    figures: dict[str, float] = {"start_mb": _peak_mb()}
    wall, cpu = time.perf_counter(), time.process_time()
    source = open_source(parts, work=work)
    figures |= {"catalogue_wall": time.perf_counter() - wall, "catalogue_cpu": time.process_time() - cpu}
    source.gripper_scales()
    wall, cpu = time.perf_counter(), time.process_time()
    figures["episodes"] = _check(source, layout)
    figures |= {"episodes_wall": time.perf_counter() - wall, "episodes_cpu": time.process_time() - cpu}
    return figures | {"peak_mb": _peak_mb()}


def _check(source: DataSource, layout: str) -> int:
    """Read all episodes; return their number."""
    names = sorted(source.names)
    for episode in source.episodes():
        expected = truth(names.index(episode.name), episode.rows)
        assert np.allclose(episode.position[:, :14], expected.position, atol=1e-5), (layout, episode.name)
    assert len(source.skips) == 0, source.skips.summary()
    return len(names)


def _peak_mb() -> float:
    """Peak resident memory of this process, MB; `getrusage` would include its parent's from before the start."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise OSError("/proc/self/status has no VmHWM line; the memory of a process is measured on Linux only")


if __name__ == "__main__":
    print(json.dumps(_read(Path(sys.argv[1]), sys.argv[2], [Path(path) for path in sys.argv[3:]])))
