"""Progress of a launch, from its folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rlt_ros.bringup import Arguments
from rlt_ros.learning.run_folder import (
    CHECKPOINT_FILE,
    EPISODE_KEYS,
    EPISODES_FILE,
    TRAINING_PHASES,
    of_phase,
)
from rlt_ros.store.journal import read_records


def has_report(arguments: Arguments) -> bool:
    """Return whether a training has a report: for one simulated robot with evaluations."""
    return arguments.sim and len(arguments.namespaces) == 1 and arguments.eval_episodes > 0


def is_trained(arguments: Arguments) -> bool:
    """Return whether every robot has finished evaluations and minutes, and a checkpoint of the policy exists."""
    has_checkpoint = (Path(arguments.out).expanduser() / CHECKPOINT_FILE).exists()
    for name in arguments.namespaces:
        records = _records(arguments, name)
        if not has_checkpoint and any(record["phase"] == "online" for record in records):
            return False
        evaluated = min(len(of_phase(records, phase)) for phase in ("eval_base", "eval_rlt"))
        if _minutes(arguments, records) < arguments.robot_minutes or evaluated < arguments.eval_episodes:
            return False
    return True


def stopped_text(mode: str, arguments: Arguments) -> str:
    """One line on the progress of a stopped launch, and on its continuation."""
    if mode != "train":
        return "stopped; the same command continues"
    done = [f"{_minutes(arguments, _records(arguments, name)):.1f}" for name in arguments.namespaces]
    budget = f"{arguments.robot_minutes:g} robot minutes"
    return f"stopped after {' and '.join(done)} of {budget}; the same command continues"


def _records(arguments: Arguments, namespace: str) -> list[dict[str, Any]]:
    folder = Path(arguments.out).expanduser()
    return read_records(
        (folder / namespace if len(arguments.namespaces) > 1 else folder) / EPISODES_FILE, EPISODE_KEYS
    )


def _minutes(arguments: Arguments, records: list[dict[str, Any]]) -> float:
    """Robot time of training in the critical phase, minutes."""
    # Imported here: it loads NumPy, and help must be quick.
    from rlt_ros.robots.profile import load_profile

    steps = sum(record["steps"] for record in records if record["phase"] in TRAINING_PHASES)
    return float(steps / load_profile(arguments.robot).control_hz / 60.0)
