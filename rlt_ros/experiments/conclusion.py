"""Conclusion of a finished run, in one process or over the graph: summary, films, report."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

import rlt_ros
from rlt_ros.experiments.evaluation import demonstrations, evaluation_seeds, success_stats
from rlt_ros.experiments.films import Play, film_starts
from rlt_ros.experiments.policy import LoadedPolicy, open_policy
from rlt_ros.experiments.rollout import EpisodeResult, Rollout
from rlt_ros.learning.checkpoint import PolicyUpdate
from rlt_ros.learning.run_folder import (
    EPISODE_KEYS,
    EPISODES_FILE,
    SUMMARY_FILE,
    TRAINING_PHASES,
    VIDEO_FOLDER,
    episode_line,
    of_phase,
    unaided,
)
from rlt_ros.report.report import write_report
from rlt_ros.report.statistics import takeover_dip
from rlt_ros.sim.workcell import Workcell
from rlt_ros.store.journal import Journal
from rlt_ros.store.lineage import Lineage
from rlt_ros.store.stopwatch import Stopwatch
from rlt_ros.store.storage import replacing

Record = Mapping[str, Any]
"""Line of ``episodes.jsonl``."""


def conclude(
    run_dir: Path, *, robot_minutes: float, stopwatch: Stopwatch, poll: Callable[[], None] = lambda: None
) -> dict[str, Any]:
    """Conclude a run of the graph: demonstrator for comparison, films, summary and report.

    Args:
        run_dir: folder of the run.
        robot_minutes: min, its budget.
        stopwatch: wall time of the run.
        poll: called at interruptible points; may raise.

    Raises:
        StorageError: the learner's checkpoint is damaged.
    """
    poll()
    # The budget may have been too small to end the warm-up.
    policy = open_policy(run_dir, trained=False)
    journal = Journal(run_dir / EPISODES_FILE, EPISODE_KEYS)
    try:
        return _conclude(run_dir, policy, journal, robot_minutes, stopwatch, poll)
    finally:
        journal.close()
        policy.workcell.close()


def _conclude(
    run_dir: Path,
    policy: LoadedPolicy,
    journal: Journal,
    robot_minutes: float,
    stopwatch: Stopwatch,
    poll: Callable[[], None],
) -> dict[str, Any]:
    count = len(recorded(journal.records, "eval_base"))
    seeds = evaluation_seeds(count)[len(recorded(journal.records, "demo")) :]
    spent = max((record["robot_minutes"] for record in journal.records), default=0.0)
    for seed, episode in zip(seeds, demonstrations(policy.workcell, seeds, policy.start), strict=True):
        journal.append(episode_record("demo", episode, seed, spent))
        stopwatch.keep()
        poll()
    if policy.learner.critic_steps:
        films(run_dir, policy.workcell, policy.rollout, policy.update, policy.run.video_episodes, poll)
    summary = summarise_run(
        journal.records,
        task=policy.workcell.task.name,
        robot=policy.run.robot,
        seed=policy.seed,
        robot_minutes_asked=robot_minutes,
        rolling=policy.run.rolling,
        updates=policy.learner.critic_steps,
        wall_seconds=stopwatch.seconds,
        lineage=policy.lineage,
    )
    keep_summary(run_dir, summary)
    return summary


def keep_summary(run_dir: Path, summary: Mapping[str, Any]) -> None:
    """Write ``summary.json`` and the report."""
    with replacing(run_dir / SUMMARY_FILE) as file:
        file.write_text(json.dumps(summary, indent=1))
    write_report(run_dir)


def summarise_run(
    records: Sequence[Record],
    *,
    task: str,
    robot: str,
    seed: int,
    robot_minutes_asked: float,
    rolling: int,
    updates: int,
    wall_seconds: float,
    lineage: Lineage,
) -> dict[str, Any]:
    """Content of ``summary.json``.

    Args:
        records: lines of ``episodes.jsonl``; `base`, `demo` and `rlt` summarise the evaluations.
        task: name of the task.
        robot: profile of the robot.
        seed: seed of the run.
        robot_minutes_asked: min, budget of critical-phase robot time.
        rolling: episodes of the rolling success rate in which the dip is measured.
        updates: critic updates made.
        wall_seconds: s, wall time of the run.
        lineage: lineage of the frozen parts.
    """
    base, demo, rlt = (success_stats(recorded(records, phase)) for phase in ("eval_base", "demo", "eval_rlt"))
    trained = training(records)
    online = [unaided(record) for record in trained if record["phase"] == "online"]
    return {
        "task": task,
        "robot": robot,
        "simulated": True,
        "seed": seed,
        "base": base.as_dict(),
        "demo": demo.as_dict(),
        "rlt": rlt.as_dict(),
        "throughput_ratio": _ratio(rlt.throughput_per_10min, base.throughput_per_10min),
        "speed_ratio": _ratio(base.median_steps, rlt.median_steps),
        "takeover_dip": takeover_dip(base.success_rate, online, rolling) if len(online) >= rolling else None,
        "robot_minutes": max((record["robot_minutes"] for record in trained), default=0.0),
        "robot_minutes_asked": robot_minutes_asked,
        "episodes": len(trained),
        "human_share": _human_share(trained),
        "updates": updates,
        "wall_seconds": wall_seconds,
        "versions": {
            "rlt_ros": rlt_ros.__version__,
            "torch": torch.__version__,
            "vla": lineage.vla,
            "token": lineage.token,
            "stats": lineage.stats,
        },
    }


def films(
    run_dir: Path,
    workcell: Workcell,
    rollout: Rollout,
    policy: PolicyUpdate,
    count: int,
    poll: Callable[[], None] = lambda: None,
) -> None:
    """Film the frozen VLA next to the trained policy on the first ``count`` evaluation episodes."""
    policies: dict[str, Play] = {
        "frozen VLA": lambda seed, watch: rollout.run(seed, watch=watch),
        "RLT": lambda seed, watch: rollout.run(seed, policy, watch=watch),
    }
    film_starts(run_dir / VIDEO_FOLDER, workcell, policies, evaluation_seeds(count), poll)


def episode_record(phase: str, episode: EpisodeResult, number: int, robot_minutes: float) -> dict[str, Any]:
    """Line of ``episodes.jsonl``."""
    return episode_line(
        episode=number,
        phase=phase,
        success=episode.success,
        end=episode.end,
        steps=episode.steps,
        human_share=episode.human_share,
        robot_minutes=robot_minutes,
    )


def recorded(records: Sequence[Record], phase: str) -> list[EpisodeResult]:
    """Results of a phase's counted episodes."""
    return [EpisodeResult(r["end"], r["steps"], r["human_share"]) for r in of_phase(records, phase)]


def training(records: Sequence[Record]) -> list[Record]:
    """Training episodes of base policy and actor."""
    return [record for record in records if record["phase"] in TRAINING_PHASES]


def _human_share(trained: Sequence[Record]) -> float:
    """Share of the robot time that a human commanded."""
    steps = sum(record["steps"] for record in trained)
    return sum(record["human_share"] * record["steps"] for record in trained) / steps if steps else 0.0


def _ratio(above: float | None, below: float | None) -> float | None:
    return above / below if above is not None and below else None
