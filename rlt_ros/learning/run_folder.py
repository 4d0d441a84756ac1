"""Layout of a run folder, common to the in-process trainer and the nodes of the graph."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rlt_ros.store.documents import NUMBER, DocumentError, Kind, read_json_object, require_keys
from rlt_ros.store.parameters import ConfigError
from rlt_ros.store.storage import replacing

CONFIG_FILE = "config.json"
EPISODES_FILE = "episodes.jsonl"
METRICS_FILE = "metrics.jsonl"
REPLAY_FILE = "replay.rlt"
CHECKPOINT_FILE = "learner.safetensors"
SUMMARY_FILE = "summary.json"
REPORT_FILE = "report.html"
VIDEO_FOLDER = "videos"

DEPLOY_FOLDER = "deploy"
"""Folder of the episodes of deployments, one folder each, separate from training."""

NO_APPROACH = "no_approach"
"""`end` of an episode that did not reach the critical phase."""

TRAINING_PHASES = ("warmup", "online")
"""`phase` of training episodes: in the critical phase the VLA acted, or the actor."""


CONFIG_KEYS: Mapping[str, Kind] = {"task": str, "seed": int, "vla": str, "rlt": dict, "run": dict}
"""Keys of `CONFIG_FILE` → kinds of their values."""

EPISODE_KEYS: Mapping[str, Kind] = {
    "episode": int,
    "phase": str,
    "success": bool,
    "end": str,
    "steps": int,
    "human_share": NUMBER,
    "robot_minutes": NUMBER,
}
"""Keys of a line of `EPISODES_FILE`, see :func:`episode_line`, → kinds of their values."""

POLICIES = ("base", "demo", "rlt")
"""Keys of the outcomes in `SUMMARY_FILE`: frozen VLA, demonstrator, trained policy."""

_FIGURE = (int, float, type(None))  # None where there is nothing to measure

_SUMMARY_KEYS: Mapping[str, Kind] = {
    **dict.fromkeys(POLICIES, dict),
    "task": str,
    "seed": int,
    "throughput_ratio": _FIGURE,
    "speed_ratio": _FIGURE,
    "robot_minutes": NUMBER,
    "episodes": int,
    "wall_seconds": NUMBER,
    "takeover_dip": _FIGURE,
    "versions": dict,
}

_INTERVALS = ("success_ci", "median_steps_ci", "throughput_ci")

_OUTCOME_KEYS: Mapping[str, Kind] = {
    "success_rate": NUMBER,
    "median_steps": _FIGURE,
    "throughput_per_10min": NUMBER,
    **dict.fromkeys(_INTERVALS, (list, type(None))),
    "successes": int,
    "episodes": int,
}


def unused(path: Path) -> Path:
    """First of ``path``, ``path_1``, ``path_2``, … that does not exist."""
    numbered = (path.with_name(f"{path.name}_{number}") for number in itertools.count(1))
    return next(candidate for candidate in itertools.chain([path], numbered) if not candidate.exists())


def episode_line(
    *,
    episode: int,
    phase: str,
    success: bool,
    end: str,
    steps: int,
    human_share: float,
    robot_minutes: float,
) -> dict[str, Any]:
    """Line of ``episodes.jsonl``.

    Args:
        episode: number, or seed of an evaluation in one process.
        phase: ``warmup``, ``online``, ``eval_base``, ``demo`` or ``eval_rlt``.
        success: True if the task succeeded, with or without human help.
        end: outcome, one word.
        steps: control steps of the critical phase.
        human_share: share of these that a human commanded, 0 to 1.
        robot_minutes: min, total critical-phase time of training at its end.
    """
    return {
        "episode": episode,
        "phase": phase,
        "success": success,
        "end": end,
        "steps": steps,
        "human_share": human_share,
        "robot_minutes": robot_minutes,
    }


def unaided(record: Mapping[str, Any]) -> bool:
    """Return whether the episode succeeded without human help."""
    return bool(record["success"]) and not record["human_share"]


def of_phase(records: Sequence[Mapping[str, Any]], phase: str) -> list[Mapping[str, Any]]:
    """Select the lines of a phase, oldest first.

    Of RLT's evaluation only those after the newest training episode: an extended run has earlier ones of an older
    actor.
    """
    trained = [index for index, record in enumerate(records) if record["phase"] in TRAINING_PHASES]
    first = trained[-1] + 1 if trained and phase == "eval_rlt" else 0
    return [record for record in records[first:] if record["phase"] == phase]


def read_config(folder: Path, keys: Sequence[str] = ()) -> dict[str, Any]:
    """Read the settings of the run in ``folder``, with at least ``keys`` of `CONFIG_KEYS`.

    Raises:
        ConfigError: the file is damaged, or lacks one of the keys.
    """
    path = folder / CONFIG_FILE
    try:
        config = read_json_object(path)
        present = [key for key in CONFIG_KEYS if key in keys or key in config]
        kinds = {key: CONFIG_KEYS[key] for key in present}
        require_keys(config, kinds, origin=path)
        if "run" in keys or "robot" in config.get("run", {}):
            require_keys(config["run"], {"robot": str}, origin=f"{path}: run")
        return config
    except DocumentError as error:
        raise ConfigError(f"{error}, or choose another folder") from error


def require_same_config(folder: Path, asked: Mapping[str, Any]) -> None:
    """Check that the run in ``folder``, if any, has the settings ``asked``.

    Raises:
        ConfigError: it was started with others; the message names them.
    """
    if not (folder / CONFIG_FILE).exists():
        return
    asked, found = json.loads(json.dumps(asked)), read_config(folder)
    if found != asked:
        names = [name for name in {**asked, **found} if found.get(name) != asked.get(name)]
        raise ConfigError(
            f"{folder} holds a run with other settings ({', '.join(names)}); "
            "choose another folder, or give the run's own settings to continue it"
        )


def check_summary(summary: Mapping[str, Any], path: Path, *, remedy: str = "restore or remove it") -> None:
    """Check that a summary has all that is shown of it.

    Raises:
        DocumentError: it lacks keys, or they have values of another kind.
    """
    require_keys(summary, _SUMMARY_KEYS, origin=path, remedy=remedy)
    for policy in POLICIES:
        origin, outcome = f"{path}: {policy}", summary[policy]
        require_keys(outcome, _OUTCOME_KEYS, origin=origin, remedy=remedy)
        for key in _INTERVALS:
            bounds = outcome[key]
            if bounds is not None and [type(bound) in NUMBER for bound in bounds] != [True, True]:
                raise DocumentError(f"{origin}: `{key}` is {str(bounds)[:80]!r}, not two numbers; {remedy}")


def finished_summary(folder: Path, robot_minutes: float, eval_episodes: int) -> dict[str, Any] | None:
    """Summary of a run that was trained and evaluated at least that much, or None if work remains."""
    try:
        summary = read_json_object(folder / SUMMARY_FILE)
        check_summary(summary, folder / SUMMARY_FILE)
        enough = (
            summary["robot_minutes_asked"] >= robot_minutes and summary["base"]["episodes"] >= eval_episodes
        )
        return dict(summary) if enough else None
    # A damaged summary is written again.
    except (ValueError, KeyError, TypeError):
        return None


def keep_config(folder: Path, asked: Mapping[str, Any]) -> None:
    """Write a new run's settings into ``folder``, or check that the existing run has the same ones.

    Raises:
        ConfigError: it was started with other settings; the message names them.
    """
    require_same_config(folder, asked)
    if not (folder / CONFIG_FILE).exists():
        folder.mkdir(parents=True, exist_ok=True)
        with replacing(folder / CONFIG_FILE) as file:
            file.write_text(json.dumps(asked, indent=1))
