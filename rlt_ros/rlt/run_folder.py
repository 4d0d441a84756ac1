"""What lies where in the folder of a run, whoever writes it: the trainer in one process, or the nodes of the graph."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rlt_ros.rlt.parameters import ConfigError
from rlt_ros.rlt.storage import replacing

CONFIG_FILE = "config.json"
EPISODES_FILE = "episodes.jsonl"
METRICS_FILE = "metrics.jsonl"
REPLAY_FILE = "replay.rlt"
CHECKPOINT_FILE = "learner.safetensors"
SUMMARY_FILE = "summary.json"

DEPLOY_FOLDER = "deploy"
"""Episodes of a deployment, each in a folder of its own: what a policy does later is no part of its training."""

TRAINING_PHASES = ("warmup", "online")
"""`phase` of training episodes: the VLA acted in the critical phase, or the actor."""


def unused(path: Path) -> Path:
    """``path``, or the first of ``path_1``, ``path_2``, … that is not there."""
    numbered = (path.with_name(f"{path.name}_{number}") for number in itertools.count(1))
    return next(one for one in itertools.chain([path], numbered) if not one.exists())


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
    """A line of ``episodes.jsonl``.

    Args:
        episode: number, or seed of an evaluation in one process.
        phase: ``warmup``, ``online``, ``eval_base``, ``demo`` or ``eval_rlt``.
        success: whether the task was done, by whomever.
        end: how it ended, in a word.
        steps: control steps of the critical phase.
        human_share: share of these that a human commanded, 0 to 1.
        robot_minutes: critical-phase time of training when it ended.
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
    """Whether an episode succeeded without a human: one that the operator had to finish is no success of the policy."""
    return bool(record["success"]) and not record["human_share"]


def of_phase(records: Sequence[Mapping[str, Any]], phase: str) -> list[Mapping[str, Any]]:
    """The lines of a phase among all lines, oldest first.

    Of RLT's evaluation only those after the newest training episode: a run that was prolonged has earlier ones too, of
    an actor that has learned since.
    """
    trained = [index for index, record in enumerate(records) if record["phase"] in TRAINING_PHASES]
    first = trained[-1] + 1 if trained and phase == "eval_rlt" else 0
    return [record for record in records[first:] if record["phase"] == phase]


def keep_config(folder: Path, asked: Mapping[str, Any]) -> None:
    """Write a new run's settings into ``folder``, or check that the run which lies there has the same ones.

    Raises:
        ConfigError: it was begun with other settings; the message names them.
    """
    path = folder / CONFIG_FILE
    asked = json.loads(json.dumps(asked))
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        with replacing(path) as file:
            file.write_text(json.dumps(asked, indent=1))
        return
    found = json.loads(path.read_text())
    if found != asked:
        names = [name for name in asked if found.get(name) != asked[name]]
        raise ConfigError(
            f"{folder} holds a run with other settings ({', '.join(names)}); "
            "choose another folder, or give the run's own settings to go on with it"
        )
