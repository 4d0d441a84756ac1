"""``rlt-ros bench data``: split archives read as streams, beside ``cat parts | tar xz`` to nowhere.

For each layout a synthetic archive is made, packed and cut into parts of odd sizes. A process of its own then reads it
twice, as users do: once for the catalogue, once for the episodes, whose joint values are checked against the truth.
In turn with it, the shell's tools inflate the same parts to ``/dev/null``. Both wall and processor time are given;
on a machine with other work the latter is the one to compare.
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

from rlt_ros.data.source import DataSource, open_source
from rlt_ros.data.synthetic import LAYOUTS, Recipe, pack, truth, write

ROWS = 30  # of an episode; enough pictures for videos of some MB
SIZE = (360, 480)
PART_BYTES = (33_554_393, 21_000_011, 7_777_777)  # nothing is a multiple of anything
MEMORY_MB = 500
RATIO = 0.7


def run(megabytes: int = 200, rounds: int = 3, layouts: Sequence[str] = LAYOUTS) -> dict[str, Any]:
    """Measure every layout.

    Args:
        megabytes: size of all archives together, about.
        rounds: turns of each contender.
        layouts: which ones.

    Returns:
        For each layout ``mb``, ``parts``, ``peak_mb`` and ``start_mb`` (resident memory of the reading process, and
        what it had before the first byte), ``mb_per_s`` of ``catalogue``, ``episodes`` and ``tar`` on the wall clock,
        ``ratio`` and ``ratio_cpu`` of the slower of our two passes to ``tar``; then the worst of each, and ``missed``.
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
    """An archive of about this size, in parts."""
    one = Recipe(episodes=1, rows=ROWS, size=SIZE, noise=True)
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
    """What the reading process measures of itself."""
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
    """Read all episodes; returns their number."""
    names = sorted(source.names)
    for episode in source.episodes():
        expected = truth(names.index(episode.name), episode.rows)
        assert np.allclose(episode.position[:, :14], expected.position, atol=1e-5), (layout, episode.name)
    assert len(source.skips) == 0, source.skips.summary()
    return len(names)


def _peak_mb() -> float:
    """Highest resident memory of this process. `getrusage` would count its parent's, from before it was started."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise OSError("/proc/self/status has no VmHWM line; the memory of a process is measured on Linux only")


if __name__ == "__main__":
    print(json.dumps(_read(Path(sys.argv[1]), sys.argv[2], [Path(path) for path in sys.argv[3:]])))
