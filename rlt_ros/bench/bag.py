"""``rlt-ros bench bag``: equality of the replay rebuilt from a bag with the live one, and speed of rebuilding.

A small run over the real graph is recorded in lock-step. Its bag is read back twice, with the recorded states and with
states that the VLA computes again, and both replays are compared with the live one row by row.
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

from rlt_ros.bags.bag_files import Bag
from rlt_ros.bags.numbers import same_row
from rlt_ros.bench.domain import use_own_domain
from rlt_ros.learning.run_folder import REPLAY_FILE
from rlt_ros.replay.ring import Replay, ReplayFormat
from rlt_ros.rlt.transition import Window
from rlt_ros.robots.profile import DEFAULT_ROBOT, load_profile

# s for the recording graph.
_GRAPH_TIMEOUT = 900.0
# Characters of the graph's last output in an error.
_OUTPUT_LENGTH = 3000


class BagBenchError(RuntimeError):
    """Recording graph without a replay."""


def run(episodes: int = 10) -> dict[str, Any]:
    """Record, rebuild, compare.

    Args:
        episodes: of the frozen VLA.

    Returns:
        ``episodes``; ``robot_seconds``: commanded time by the robot's clock, which a simulator in lock-step may exceed;
        for ``recorded`` and ``computed`` states each ``rows``, ``equal_rows`` among them, and ``times_real_time``,
        robot seconds per second of reading; ``missed``: failed requirements, one sentence each.

    Raises:
        BagBenchError: the graph did not store its episodes.
    """
    use_own_domain()
    # As in live inference, for bitwise equal states.
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(prefix="rlt-bag-") as folder:
        out = Path(folder) / "live"
        collect_over_graph(out, episodes, "--record", "true")
        live = stored_rows(out / REPLAY_FILE)
        seconds = _robot_seconds(out / "bag")
        result: dict[str, Any] = {"episodes": episodes, "robot_seconds": seconds, "live_rows": len(live)}
        for states in ("recorded", "computed"):
            rebuilt, wall = _rebuild(out, Path(folder) / states, states, live)
            result[states] = {**rebuilt, "times_real_time": seconds / wall}
    return {**result, "missed": missed(result)}


def missed(result: dict[str, Any]) -> list[str]:
    """Failed requirements, one sentence each."""
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


def collect_over_graph(out: Path, episodes: int, *options: str) -> None:
    """Run a graph in lock-step in which the frozen VLA collects episodes; `options` of ``rlt-ros launch collect``.

    Raises:
        BagBenchError: the graph stored no replay.
    """
    words = ["launch", "collect", "--episodes", str(episodes), "--out", str(out), *options]
    graph = subprocess.Popen(
        [sys.executable, "-m", "rlt_ros.cli.main", *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    try:
        output, _ = graph.communicate(timeout=_GRAPH_TIMEOUT)
    except subprocess.TimeoutExpired:
        graph.send_signal(signal.SIGINT)
        output, _ = graph.communicate()
    if graph.returncode or not (out / REPLAY_FILE).exists():
        raise BagBenchError(
            f"the graph stored no replay; its output:\n{output.decode(errors='replace')[-_OUTPUT_LENGTH:]}"
        )


def _robot_seconds(path: Path) -> float:
    steps = sum(topic.count for topic in Bag(path).topics.values() if topic.name == "/rlt/executed_step")
    return steps / load_profile(DEFAULT_ROBOT).control_hz


def _rebuild(
    live: Path, out: Path, states: str, rows: dict[tuple[int, int], Window]
) -> tuple[dict[str, Any], float]:
    """Rebuild the replay of a bag; return its figures, and the duration in s."""
    from rlt_ros.ros.bag_import import BagImport, ImportSettings
    from rlt_ros.ros.settings import BagConfig, Setup

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
