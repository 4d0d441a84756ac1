"""A plan says in words what a run shall do."""

from __future__ import annotations

from pathlib import Path

import pytest

from rlt_ros.episodes.plan import Kind, Stage, parse_plan
from rlt_ros.episodes.tasks import load_task, task_names
from rlt_ros.experiments.evaluation import EVALUATION_SEED
from rlt_ros.experiments.trainer import _SEEDS_PER_RUN
from rlt_ros.sim.tasks import TASKS
from rlt_ros.store.parameters import ConfigError


def test_stages_have_episodes_or_minutes_or_no_end() -> None:
    texts = ["eval_base:10", "train:9min", "eval_rlt:0"]
    plan = parse_plan(texts)
    assert plan == (
        Stage(Kind.EVAL_BASE, episodes=10),
        Stage(Kind.TRAIN, minutes=9.0),
        Stage(Kind.EVAL_RLT),
    )
    assert [str(stage) for stage in plan] == texts
    assert parse_plan(["train:0.5min"])[0].minutes == 0.5
    for minutes in (1e-5, 1e7):  # as a number is written that is very small or large
        assert parse_plan([str(Stage(Kind.TRAIN, minutes=minutes))])[0].minutes == minutes
    assert parse_plan(["warmup:0"]) == (Stage(Kind.WARMUP),)


@pytest.mark.parametrize(
    ("plan", "words"),
    [
        ([], "empty"),
        (["train"], "`train`"),
        (["tarin:3"], "eval_base, train, warmup, eval_rlt"),
        (["train:-1"], "`train:-1`"),
        (["train:2.5"], "whole number of episodes"),
        (["eval_rlt:3min"], "eval_rlt:10"),
        (["train:3", "train:4"], "twice"),
        (["train:0", "eval_rlt:1"], "without end"),
    ],
)
def test_what_is_no_plan_is_refused(plan: list[str], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        parse_plan(plan)


def test_seeds_are_those_of_the_in_process_trainer() -> None:
    from rlt_ros.episodes import plan

    assert (plan.EVALUATION_SEED, plan.SEEDS_PER_RUN) == (EVALUATION_SEED, _SEEDS_PER_RUN)


def test_the_tasks_are_those_of_the_simulator() -> None:
    assert task_names() == sorted(TASKS)
    for name, simulated in TASKS.items():
        task = load_task(name)
        assert task.instruction == simulated.instruction
        assert (task.approach_steps, task.critical_steps) == (
            simulated.approach_limit,
            simulated.critical_limit,
        )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("name: mine\n", "`instruction` is required"),
        ("name: mine\ninstruction: ''\n", "`instruction` is empty"),
        ("name: mine\ninstruction: go\ncritical_steps: 0\n", "`critical_steps`"),
        ("name: yours\ninstruction: go\n", "must be mine"),
        ("name: mine\ninstructions: go\n", "did you mean `instruction`"),
    ],
)
def test_a_mistake_in_a_task_is_named(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=words) as error:
        load_task(path)
    assert str(path) in str(error.value)


def test_an_unknown_task_is_told_which_there_are() -> None:
    with pytest.raises(ConfigError, match="charger"):
        load_task("juggle")
