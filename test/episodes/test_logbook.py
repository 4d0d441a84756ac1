"""Finished episodes are on the disk and determine the next one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from rlt_ros.episodes.logbook import Logbook
from rlt_ros.episodes.machine import Assignment, FinishedEpisode
from rlt_ros.episodes.plan import EVALUATION_SEED, parse_plan
from rlt_ros.episodes.tasks import load_task
from rlt_ros.replay.stream import EpisodeOutcome
from rlt_ros.report.run_files import _read_episodes

PLAN = ["eval_base:2", "train:0.1min", "eval_rlt:2"]  # 300 steps of training


def book(folder: Path, plan: list[str] | None = None, seed: int = 3) -> Logbook:
    return Logbook(folder, parse_plan(plan or PLAN), load_task("charger"), seed=seed, hz=50.0)


def done(
    assignment: Assignment | None, outcome: EpisodeOutcome = EpisodeOutcome.SUCCESS, **changes: Any
) -> FinishedEpisode:
    assert assignment is not None
    values = {"critical": True, "steps": 100, "human_share": 0.25, "actor_acted": False, **changes}
    return FinishedEpisode(assignment, outcome, **values)


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "episodes.jsonl").read_text().splitlines()]


def test_the_plan_is_done_stage_by_stage(tmp_path: Path) -> None:
    here = book(tmp_path)
    seen = []
    while (assignment := here.next()) is not None:
        seen.append((assignment.kind.value, assignment.episode, assignment.seed))
        here.note(done(assignment, actor_acted=assignment.episode >= 4))
    assert seen == [
        ("eval_base", 1, EVALUATION_SEED),
        ("eval_base", 2, EVALUATION_SEED + 1),
        ("train", 3, 3_000_000),
        ("train", 4, 3_000_001),
        ("train", 5, 3_000_002),
        ("eval_rlt", 6, EVALUATION_SEED),
        ("eval_rlt", 7, EVALUATION_SEED + 1),
    ]
    assert [line["phase"] for line in lines(tmp_path)] == [
        *["eval_base"] * 2,
        "warmup",
        *["online"] * 2,
        *["eval_rlt"] * 2,
    ]
    assert here.robot_minutes == pytest.approx(0.1)
    assert here.progress() == "the plan is done"
    assert here.newest_stored == 5


def test_lines_are_in_the_form_that_the_report_reads(tmp_path: Path) -> None:
    here = book(tmp_path)
    for _ in range(3):
        here.note(done(here.next()))
    assert lines(tmp_path)[2] == {
        "episode": 3,
        "phase": "warmup",
        "success": True,
        "end": "success",
        "steps": 100,
        "human_share": 0.25,
        "robot_minutes": pytest.approx(100 / 50 / 60),
        "seed": 3_000_000,
    }
    assert len(list(_read_episodes(tmp_path / "episodes.jsonl"))) == 3


@pytest.mark.parametrize(
    ("outcome", "critical", "end"),
    [
        (EpisodeOutcome.SUCCESS, True, "success"),
        (EpisodeOutcome.FAILURE, True, "failure"),
        (EpisodeOutcome.TIMEOUT, True, "timeout"),
        (EpisodeOutcome.TIMEOUT, False, "no_approach"),
        (EpisodeOutcome.FAILURE, False, "no_approach"),
        (EpisodeOutcome.ABORTED, True, "aborted"),
    ],
)
def test_the_end_has_the_names_of_the_trainer(
    tmp_path: Path, outcome: EpisodeOutcome, critical: bool, end: str
) -> None:
    here = book(tmp_path, ["train:5"])
    record = here.note(done(here.next(), outcome, critical=critical))
    assert record is not None
    assert (record["end"], record["success"]) == (end, end == "success")


def test_a_run_goes_on_where_it_was_and_uses_no_id_twice(tmp_path: Path) -> None:
    here = book(tmp_path)
    here.note(done(here.next()))
    here.next()  # killed in the middle of it
    here.close()
    again = book(tmp_path)
    assert again.interrupted == 2
    assignment = again.next()
    assert assignment is not None
    assert (assignment.episode, assignment.seed) == (3, EVALUATION_SEED + 1)
    again.note(done(assignment))
    assert book(tmp_path).interrupted is None


def test_ids_that_others_have_seen_are_not_used(tmp_path: Path) -> None:
    assignment = book(tmp_path).next(above=40)
    assert assignment is not None
    assert assignment.episode == 41


def test_what_was_withdrawn_is_repeated_under_a_new_id(tmp_path: Path) -> None:
    here = book(tmp_path, ["train:5"])
    here.note(done(here.next()))
    assert here.note(done(here.next(), EpisodeOutcome.ABORTED, repeat=True)) is None
    assignment = here.next()
    assert assignment is not None
    assert (assignment.episode, assignment.seed) == (3, 3_000_001)
    assert len(lines(tmp_path)) == 1


def test_an_aborted_evaluation_is_done_again(tmp_path: Path) -> None:
    here = book(tmp_path)
    here.note(done(here.next(), EpisodeOutcome.ABORTED))
    assignment = here.next()
    assert assignment is not None
    assert assignment.seed == EVALUATION_SEED
    assert lines(tmp_path) == []


def test_robot_time_of_an_aborted_episode_counts(tmp_path: Path) -> None:
    here = book(tmp_path, ["train:5"])
    here.note(done(here.next(), EpisodeOutcome.ABORTED))
    here.note(done(here.next(), EpisodeOutcome.ABORTED, steps=0))
    assert here.robot_minutes == pytest.approx(100 / 3000)
    assert len(lines(tmp_path)) == 1


def test_a_run_that_is_prolonged_is_evaluated_anew(tmp_path: Path) -> None:
    first = ["train:1", "eval_rlt:1"]
    here = book(tmp_path, first)
    while (assignment := here.next()) is not None:
        here.note(done(assignment))
    here.close()
    longer = book(tmp_path, ["train:2", "eval_rlt:1"])
    kinds = []
    while (assignment := longer.next()) is not None:
        kinds.append(assignment.kind.value)
        longer.note(done(assignment))
    assert kinds == ["train", "eval_rlt"]


def test_failed_approaches_in_a_row_are_counted(tmp_path: Path) -> None:
    here = book(tmp_path, ["train:0"])
    assert here.failed_approaches() == 0
    for critical in (False, True, False, False):
        here.note(done(here.next(), EpisodeOutcome.TIMEOUT, critical=critical, steps=0))
    assert here.failed_approaches() == 2


def test_without_end_means_without_end(tmp_path: Path) -> None:
    here = book(tmp_path, ["eval_rlt:0"])
    seeds = []
    for _ in range(5):
        assignment = here.next()
        assert assignment is not None
        seeds.append(assignment.seed)
        here.note(done(assignment))
    assert seeds == [EVALUATION_SEED + i for i in range(5)]


def test_a_demonstrators_seeds_are_no_episode_numbers(tmp_path: Path) -> None:
    here = book(tmp_path, ["train:0"])
    here.note(done(here.next()))
    here.close()
    with (tmp_path / "episodes.jsonl").open("a") as file:
        demo = {
            "episode": EVALUATION_SEED + 7,
            "phase": "demo",
            "success": True,
            "steps": 5,
            "robot_minutes": 0.0,
        }
        file.write(json.dumps(demo) + "\n")
    assignment = book(tmp_path, ["train:0"]).next()
    assert assignment is not None and assignment.episode == 2
