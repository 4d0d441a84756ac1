"""Another arm than the G1, from demonstrations to a trained policy, by its profile alone. Small, but all parts real."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from rlt_ros.experiments import pretrain
from rlt_ros.experiments.evaluation import evaluate
from rlt_ros.experiments.trainer import train
from rlt_ros.robots.profile import load_profile
from rlt_ros.vla.builtin import load_builtin

ROBOT = "ur5e"
SMALL_VLA = {
    "pretrain": {"robot": ROBOT, "tasks": ["charger"], "demonstrations": 2, "held_out": 2, "workers": 1},
    "vla": {"width": 32, "layers": 1, "heads": 2, "stem_width": 4, "head_layers": 1},
    "vla_training": {"steps": 6, "batch": 8, "warmup": 2, "compute": "float32"},
    "token": {
        "z_dim": 16,
        "width": 32,
        "heads": 2,
        "layers": 1,
        "steps": 4,
        "batch": 8,
        "compute": "float32",
    },
}
SMALL_RUN: dict[str, Any] = {
    "rlt": {
        "hidden": [32, 32],
        "batch_size": 16,
        "warmup_episodes": 1,
        "warmup_updates": 10,
        "min_rows": 16,
        "min_successes": 0,
        "min_failures": 0,
        "utd": 0.5,
        "replay_capacity": 2000,
    },
    "run": {"robot": ROBOT, "start": "critical", "video_episodes": 0, "metrics_every": 10},
}


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("weights")
    pretrain.run(folder, overrides=copy.deepcopy(SMALL_VLA))
    return folder


def test_the_vla_has_the_joints_and_cameras_of_the_robot_that_demonstrated(weights: Path) -> None:
    vla, _ = load_builtin("charger", weights)
    profile = load_profile(ROBOT)
    assert vla.spec.action_dim == profile.dim == 6
    assert vla.spec.cameras == tuple(profile.cameras)


def test_it_learns_online_and_is_evaluated_on_the_robot_that_it_knows(weights: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    train(
        task="charger",
        seed=0,
        robot_minutes=0.1,
        eval_episodes=1,
        out=out,
        vla=str(weights),
        overrides=copy.deepcopy(SMALL_RUN),
    )
    assert json.loads((out / "config.json").read_text())["run"]["robot"] == ROBOT
    assert (out / "summary.json").is_file()
    assert evaluate(out, episodes=1, policy="rlt")["episodes"] == 1


def test_weights_of_one_robot_do_not_move_another(weights: Path, tmp_path: Path) -> None:
    overrides = copy.deepcopy(SMALL_RUN)
    overrides["run"]["robot"] = "franka_fr3"
    with pytest.raises(ValueError, match="franka_fr3 has 7 joints, and the VLA moves 6"):
        train(
            task="charger",
            seed=0,
            robot_minutes=0.1,
            eval_episodes=1,
            out=tmp_path / "run",
            vla=str(weights),
            overrides=overrides,
        )
