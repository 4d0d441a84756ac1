"""Learning from a bag without a robot until the graph ends: the processes of ``launch offline``."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from own_graph import PATIENCE
from stream_source import GAMMA, SHAPES, rows, stream

sys.path.append(str(Path(__file__).parents[1] / "bags"))
from bags import own, write_bag

from rlt_ros.bench.domain import reserve_domain
from rlt_ros.bringup import Arguments, graph
from rlt_ros.replay.ring import ReplayFormat
from rlt_ros.replay.stream import EpisodeOutcome

LEARNING = {
    "chunk": SHAPES.chunk,
    "gamma": GAMMA,
    "hidden": [8],
    "batch_size": 4,
    "warmup_episodes": 2,
    "warmup_updates": 6,
    "min_rows": 4,
    "replay_capacity": 500,
    "compute": "float32",
}


@pytest.fixture
def start(
    start_node: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Any]:
    """Starts bag node and learner for a bag of episodes that ended so; returns both processes."""

    def begin(*outcomes: EpisodeOutcome) -> list[Any]:
        # Latched topics of one test must not reach the next.
        monkeypatch.setenv("ROS_DOMAIN_ID", str(reserve_domain()))
        made = [stream(number, outcome=outcome) for number, outcome in enumerate(outcomes, 1)]
        bag = write_bag(tmp_path / "bag", own(record for one in made for record in one.records))
        settings = {
            "/**": {"ros__parameters": {"rlt": LEARNING}},
            "/bag_node": {"ros__parameters": {"states": "recorded"}},
        }
        (tmp_path / "settings.yaml").write_text(yaml.safe_dump(settings))
        arguments = Arguments(
            bag=str(bag), out=str(tmp_path / "run"), params_file=str(tmp_path / "settings.yaml")
        )
        return [start_node(spec.executable, *spec.command_line()[1:]) for spec in graph("offline", arguments)]

    return begin


def test_it_ends_when_the_learner_has_learned_from_all_rows(
    start: Callable[..., Any], tmp_path: Path
) -> None:
    bags, learner = start(EpisodeOutcome.SUCCESS, EpisodeOutcome.FAILURE, EpisodeOutcome.SUCCESS)
    assert bags.process.wait(2 * PATIENCE) == 0
    expected = sum(len(rows(stream(number))) for number in (1, 2, 3))
    assert f"has used all {expected} rows" in bags.log
    assert learner.end() == 0
    assert (tmp_path / "run" / "learner.safetensors").exists()
    assert ReplayFormat.read(tmp_path / "run" / "replay.rlt").shapes == SHAPES


def test_what_no_bag_brings_is_said_and_not_waited_for(start: Callable[..., Any]) -> None:
    bags, _ = start(EpisodeOutcome.SUCCESS, EpisodeOutcome.SUCCESS)
    assert bags.process.wait(2 * PATIENCE) == 0
    assert "the learner waits for 1 more failures, which the bags lack" in bags.log


def test_a_bag_that_is_not_there_is_not_waited_for(start_node: Callable[..., Any], tmp_path: Path) -> None:
    process = start_node("bag_node", bags=[str(tmp_path / "none")], out=str(tmp_path / "run"))
    assert process.process.wait(2 * PATIENCE) == 2
    assert "there is no bag" in process.log
    assert not (tmp_path / "run").exists()
