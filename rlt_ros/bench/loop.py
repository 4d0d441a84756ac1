"""``rlt-ros bench loop``: equality of the replay rows of one process and of the graph.

The frozen VLA collects the same episodes twice, over a graph in lock-step and in one process, and every stored row is
compared bit for bit. Without arguments: three tasks of the AgiBot G1 and one of the UR5e, two seeds each.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import torch

from rlt_ros.bags.numbers import same_row
from rlt_ros.bench.bag import collect_over_graph, stored_rows
from rlt_ros.bench.domain import use_own_domain
from rlt_ros.episodes.plan import SEEDS_PER_RUN
from rlt_ros.learning.run_folder import REPLAY_FILE
from rlt_ros.replay.ring import ReplayFormat
from rlt_ros.rlt.config import RLTConfig
from rlt_ros.rlt.transition import Window
from rlt_ros.robots.profile import DEFAULT_ROBOT, load_profile
from rlt_ros.vla.loading import BUILTIN, load_frozen

_CASES = (
    (DEFAULT_ROBOT, "charger"),
    (DEFAULT_ROBOT, "ethernet"),
    (DEFAULT_ROBOT, "screw"),
    ("ur5e", "charger"),
)
_SEEDS = (1, 2)


def run(episodes: int = 2, robot: str = "") -> dict[str, Any]:
    """Collect the same episodes in both ways and compare their rows.

    Args:
        episodes: of each robot, task and seed.
        robot: profile of the robot; empty for all.

    Returns:
        ``loop``, for each robot, task and seed: ``graph_rows``, ``rows`` in one process, and ``equal_rows``.
        ``missed``: failed requirements, one sentence each.
    """
    use_own_domain()
    # As in live inference, for bitwise equal states.
    torch.set_num_threads(1)
    rows = [
        _compare(name, task, seed, episodes)
        for name, task in _CASES
        if robot in ("", name)
        for seed in _SEEDS
    ]
    return {"loop": rows, "missed": [_difference(row) for row in rows if not _is_equal(row)]}


def _compare(robot: str, task: str, seed: int, episodes: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="rlt-loop-") as folder:
        out = Path(folder) / "graph"
        collect_over_graph(out, episodes, "--robot", robot, "--task", task, "--seed", str(seed))
        graph, z_type = stored_rows(out / REPLAY_FILE), ReplayFormat.read(out / REPLAY_FILE).z_dtype
    in_process = collect_in_process(robot, task, seed, episodes)
    equal = sum(
        (row.episode, row.step) in graph and same_row(graph[row.episode, row.step], row, z_type)
        for row in in_process
    )
    figures = {"graph_rows": len(graph), "rows": len(in_process), "equal_rows": equal}
    return {"robot": robot, "task": task, "seed": seed, **figures}


def collect_in_process(robot: str, task: str, seed: int, episodes: int) -> list[Window]:
    """Rows of a run's first training episodes by the frozen VLA."""
    from rlt_ros.experiments.rollout import Rollout
    from rlt_ros.sim.station import station
    from rlt_ros.sim.tasks import simulated
    from rlt_ros.sim.workcell import Workcell

    profile = load_profile(robot)
    workcell = Workcell(simulated(task), station(profile))
    rows: list[Window] = []
    try:
        rollout = Rollout(
            workcell, load_frozen(BUILTIN, task, robot, profile.continuous), RLTConfig(), profile
        )
        for number in range(1, episodes + 1):
            rollout.run(seed * SEEDS_PER_RUN + number - 1, episode=number, collect=rows.extend)
    finally:
        workcell.close()
    return rows


def _is_equal(row: dict[str, Any]) -> bool:
    return bool(row["equal_rows"] == row["rows"] == row["graph_rows"] > 0)


def _difference(row: dict[str, Any]) -> str:
    return (
        f"{row['robot']}, {row['task']}, seed {row['seed']}: {row['equal_rows']} of {row['rows']} rows are among the "
        f"{row['graph_rows']} of the graph"
    )
