"""``rlt-ros bench bag``: is a replay that is rebuilt from a bag the one that the live graph stored, and how fast?

A small run over the real graph, in lock-step and recorded; then its bag is read back twice, with the states that are in
it and with states that the VLA computes anew, and both are compared with the live replay row by row.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from rlt_ros.experiments.bench.domain import use_own_domain
from rlt_ros.offline.bag_files import Bag
from rlt_ros.offline.numbers import same_row
from rlt_ros.rlt.replay import Replay, ReplayFormat
from rlt_ros.rlt.run_folder import REPLAY_FILE
from rlt_ros.rlt.transition import Window
from rlt_ros.robots.profile import DEFAULT_ROBOT, load_profile

_PATIENCE = 900.0  # s for the graph
_OUTPUT = 3000  # characters of the graph's last words in an error


class BagBenchError(RuntimeError):
    """The graph that shall be recorded does not run."""


def run(episodes: int = 10) -> dict[str, Any]:
    """Record, rebuild, compare.

    Args:
        episodes: that the frozen VLA does.

    Returns:
        ``episodes``, ``robot_seconds`` that the arm was commanded, by the robot's clock: a simulator in lock-step may
        take longer; for ``recorded`` and ``computed`` states each the ``rows``, how many of them are ``equal_rows``,
        and ``times_real_time``, robot's seconds for one of reading; ``missed``: what is not as it should be, in words.

    Raises:
        BagBenchError: the graph did not do its episodes.
    """
    use_own_domain()
    torch.set_num_threads(1)  # as the live inference has it
    with tempfile.TemporaryDirectory(prefix="rlt-bag-") as folder:
        out = Path(folder) / "live"
        _record(out, episodes)
        live = stored_rows(out / REPLAY_FILE)
        seconds = _robot_seconds(out / "bag")
        result: dict[str, Any] = {"episodes": episodes, "robot_seconds": seconds, "live_rows": len(live)}
        for states in ("recorded", "computed"):
            rebuilt, wall = _rebuild(out, Path(folder) / states, states, live)
            result[states] = {**rebuilt, "times_real_time": seconds / wall}
    return {**result, "missed": missed(result)}


def missed(result: dict[str, Any]) -> list[str]:
    """What is not as it should be, in words."""
    return [
        f"{states} states: {result[states]['equal_rows']} of {result[states]['rows']} rows are among the "
        f"{result['live_rows']} live ones"
        for states in ("recorded", "computed")
        if not result[states]["equal_rows"] == result[states]["rows"] == result["live_rows"]
    ]


def stored_rows(path: Path) -> dict[tuple[int, int], Window]:
    """Rows of a replay by episode and step."""
    found = ReplayFormat.read(path)
    replay = Replay.attach(path, found.shapes, lineage=found.lineage)
    try:
        windows = [replay.window(index) for index in range(len(replay))]
    finally:
        replay.close()
    return {(window.episode, window.step): window for window in windows}


def _record(out: Path, episodes: int) -> None:
    """Run the graph in lock-step, recorded."""
    words = ["launch", "collect", "--record", "true", "--episodes", str(episodes), "--out", str(out)]
    graph = subprocess.Popen(
        [sys.executable, "-m", "rlt_ros.cli.main", *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    try:
        said, _ = graph.communicate(timeout=_PATIENCE)
    except subprocess.TimeoutExpired:
        graph.send_signal(signal.SIGINT)
        said, _ = graph.communicate()
    if graph.returncode or not (out / REPLAY_FILE).exists():
        raise BagBenchError(f"the graph stored nothing; it says:\n{said.decode(errors='replace')[-_OUTPUT:]}")


def _robot_seconds(path: Path) -> float:
    steps = sum(topic.count for topic in Bag(path).topics.values() if topic.name == "/rlt/executed_step")
    return steps / load_profile(DEFAULT_ROBOT).control_hz


def _rebuild(
    live: Path, out: Path, states: str, rows: dict[tuple[int, int], Window]
) -> tuple[dict[str, Any], float]:
    """What became of the bag's rows, and how many seconds it took."""
    from rlt_ros.nodes.bag_import import BagImport, ImportSettings
    from rlt_ros.nodes.settings import BagConfig, Setup

    config = BagConfig(bags=(str(live / "bag"),), out=str(out), states=states)
    begun = time.monotonic()
    bags = BagImport(ImportSettings(Setup(), config))
    try:
        for _ in bags.run():
            pass
    finally:
        bags.close()
    wall = time.monotonic() - begun
    made, z_type = stored_rows(out / REPLAY_FILE), ReplayFormat.read(out / REPLAY_FILE).z_dtype
    equal = sum(key in rows and same_row(rows[key], row, z_type) for key, row in made.items())
    return {"rows": len(made), "equal_rows": equal}, wall
