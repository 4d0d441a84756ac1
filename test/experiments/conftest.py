"""Run folders as a training run leaves them, made from a few lines of arithmetic."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rlt_ros.report.statistics import CONTROL_HZ, summarise

WriteRun = Callable[..., Path]


def write_run_folder(
    folder: Path,
    *,
    seed: int = 0,
    minutes: float = 3.0,
    evaluation_episodes: int = 40,
    base_rate: float = 0.45,
    task: str = "charger",
) -> Path:
    """A finished run in which success goes from ``base_rate`` to almost 1 and steps from 190 to 60."""
    generator = np.random.default_rng(seed)
    records: list[dict[str, Any]] = []
    clock = 0.0

    def attempt(phase: str, rate: float, median: float, *, counts: bool) -> None:
        nonlocal clock
        success = bool(generator.random() < rate)
        steps = int(np.clip(generator.lognormal(np.log(median), 0.28), 20, 400)) if success else 400
        clock += steps / CONTROL_HZ / 60 if counts else 0.0
        records.append(
            {
                "episode": len(records),
                "phase": phase,
                "success": success,
                "steps": steps,
                "robot_minutes": clock,
                "human_share": 0.0,
            }
        )

    while clock < 0.2 * minutes:
        attempt("warmup", base_rate, 190, counts=True)
    while clock < minutes:
        learned = 1 / (1 + np.exp(-9 * (clock / minutes - 0.5)))
        attempt("online", base_rate + (0.97 - base_rate) * learned, 190 - 125 * learned, counts=True)
    for phase, rate, median in (("eval_base", base_rate, 190), ("demo", 1.0, 135), ("eval_rlt", 0.98, 62)):
        for _ in range(evaluation_episodes):
            attempt(phase, rate, median, counts=False)

    def outcome(phase: str) -> dict[str, Any]:
        chosen = [record for record in records if record["phase"] == phase]
        return summarise([r["success"] for r in chosen], [r["steps"] for r in chosen]).as_dict()

    base, demo, rlt = outcome("eval_base"), outcome("demo"), outcome("eval_rlt")
    summary = {
        "task": task,
        "seed": seed,
        "base": base,
        "demo": demo,
        "rlt": rlt,
        "throughput_ratio": rlt["throughput_per_10min"] / base["throughput_per_10min"],
        "speed_ratio": base["median_steps"] / rlt["median_steps"],
        "robot_minutes": clock,
        "episodes": sum(record["phase"] in ("warmup", "online") for record in records),
        "wall_seconds": 1104.2,
        "takeover_dip": 0.04,
        "versions": {"rlt_ros": "0.1.0", "torch": "2.13.0", "mujoco": "4.0.0", "python": "3.11.7"},
        "lineage": {"vla": "3f9c2a7b10de4411", "token": "90ab12cd34ef5678"},
    }
    config = {
        "task": task,
        "rlt": {"beta": 0.02, "gamma": 0.99, "sigma": 0.1, "layer_norm": True, "hidden": [256, 256]},
        "trainer": {"warmup_episodes": 20, "eval_episodes": evaluation_episodes},
    }
    metrics = [
        {
            "robot_minutes": at,
            "updates": int(at * 7000),
            "q": float(0.3 + 0.4 * at / minutes + 0.02 * generator.normal()),
            "critic_loss": float(0.01 * np.exp(-at / minutes) + 0.001 * generator.random()),
            "actor_loss": float(-0.3 - 0.4 * at / minutes),
            "beta": 0.02,
            "bc": float(1.2 * at / minutes + 0.1 * generator.random()) if at > 0.2 * minutes else None,
            "q_action_sensitivity": float(0.05 + 0.02 * generator.random()),
            "utd_debt": float(200 * generator.random()),
        }
        for at in np.linspace(0.1, minutes, 60)
    ]
    folder.mkdir(parents=True)
    (folder / "summary.json").write_text(json.dumps(summary))
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "episodes.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    (folder / "metrics.jsonl").write_text("".join(json.dumps(record) + "\n" for record in metrics))
    return folder


@pytest.fixture
def write_run(tmp_path: Path) -> WriteRun:
    """``write_run(name, **options)`` makes a run folder below ``tmp_path``."""

    def write(name: str, **options: Any) -> Path:
        return write_run_folder(tmp_path / name, **options)

    return write
