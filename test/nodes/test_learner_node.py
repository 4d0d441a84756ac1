"""Learner node: awaited data, published actors and status, resumption after a kill."""

from __future__ import annotations

import json
import resource
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from statuses import first_with
from stream_source import GAMMA, LINEAGE, SHAPES, rows, stream

from rlt_ros.learning.checkpoint import import_actor
from rlt_ros.middleware import Parameter
from rlt_ros.middleware.messages import DiagnosticArray, LearnerStatus, PolicyUpdate, ReplayStatus
from rlt_ros.nodes.learner_node import LearnerNode
from rlt_ros.replay.format import ReplayFormat
from rlt_ros.replay.map import ReplayMap
from rlt_ros.replay.ring import Replay
from rlt_ros.replay.stream import EpisodeOutcome
from rlt_ros.ros import qos
from rlt_ros.ros.conversions import read_lineage, read_policy
from rlt_ros.ros.diagnostics import WARN

WARM_UP, UTD = 20, 2
PARAMETERS: dict[str, Any] = {
    "rlt.chunk": SHAPES.chunk,
    "rlt.gamma": GAMMA,
    "rlt.hidden": [16],
    "rlt.batch_size": 16,
    "rlt.warmup_episodes": 2,
    "rlt.warmup_updates": WARM_UP,
    "rlt.min_rows": 8,
    "rlt.utd": float(UTD),
    "rlt.compute": "float32",
    "metrics_every": 10,
}


class Station:
    """Writer of the replay, and subscriber of the learner."""

    def __init__(self, graph: Any, out: Path) -> None:
        self.graph, self.out = graph, out
        self.statuses: list[Any] = []
        self.updates: list[Any] = []
        self.rows = 0
        node = graph.node("station")
        self._hints = node.create_publisher(ReplayStatus, "rlt/replay_status", qos.REPLAY_STATUS)
        node.create_subscription(
            LearnerStatus, "rlt/learner_status", self.statuses.append, qos.LEARNER_STATUS
        )
        node.create_subscription(PolicyUpdate, "rlt/policy_update", self.updates.append, qos.POLICY_UPDATE)

    def stores(self, *episodes: int) -> None:
        """Append episodes, even numbers successful, and publish the status."""
        with Replay.open(
            self.out / "replay.rlt", SHAPES, 500, gamma=GAMMA, lineage=LINEAGE, z_storage="float32"
        ) as replay:
            for number in episodes:
                outcome = EpisodeOutcome.FAILURE if number % 2 else EpisodeOutcome.SUCCESS
                replay.append(rows(stream(number, outcome=outcome)))
            self.rows = replay.total
        self._hints.publish(ReplayStatus(rows=self.rows))

    def hears(self, **fields: Any) -> Any:
        """First status with these fields; earlier ones are dropped."""
        return first_with(self.graph, self.statuses, "learner status", **fields)

    def hears_all_paid(self) -> Any:
        """Status with a paid update debt."""
        rows_after_opening = self.rows - 2 * 8  # two episodes of eight rows open the gate
        updates = WARM_UP + UTD * rows_after_opening
        return self.hears(state=LearnerStatus.CAUGHT_UP, critic_steps=updates, rows=self.rows)


@pytest.fixture
def station(graph: Any, tmp_path: Path) -> Station:
    return Station(graph, tmp_path)


def learner(graph: Any, out: Path, **parameters: Any) -> LearnerNode:
    """Learner node in this process, at its priority."""
    values = {**PARAMETERS, "out": str(out), "niceness": 0, **parameters}
    overrides = [Parameter(name, value=value) for name, value in values.items()]
    return graph.add(LearnerNode(parameter_overrides=overrides))


def metrics(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


def test_it_says_what_it_waits_for_learns_what_is_owed_and_publishes_the_actor(
    graph: Any, station: Station, tmp_path: Path
) -> None:
    learner(graph, tmp_path)
    assert "replay.rlt" in station.hears(state=LearnerStatus.WAITING).waiting_for
    station.stores(1)
    waiting = station.hears(state=LearnerStatus.WAITING, rows=8)
    assert waiting.waiting_for == "1 more episodes, 1 more successes" and waiting.critic_steps == 0
    station.stores(2)
    paid = station.hears_all_paid()
    assert paid.owed < 2 and paid.actor_steps == WARM_UP / 2
    station.stores(3, 4)
    status = station.hears_all_paid()
    graph.until(lambda: station.updates and station.updates[-1].version == status.actor_steps)
    message = station.updates[-1]
    update = import_actor(read_policy(message), shapes=SHAPES, lineage=LINEAGE)
    assert update.version == message.version == status.version
    assert update.lineage == read_lineage(message.lineage) == read_lineage(status.lineage)
    kept = metrics(tmp_path)
    assert [record["updates"] for record in kept] == list(range(10, status.critic_steps + 1, 10))
    assert {"robot_minutes", "utd_debt", "q", "critic_loss", "q_action_sensitivity"} <= kept[0].keys()
    assert dict(zip(status.metrics, status.values, strict=True))["q"] == pytest.approx(kept[-1]["q"])


def test_damaged_rows_are_left_out_counted_and_warned_of(
    graph: Any, station: Station, tmp_path: Path
) -> None:
    station.stores(1, 2)
    path = tmp_path / "replay.rlt"
    mapped = ReplayMap(path, ReplayFormat.read(path), writable=True)
    mapped.action[[3, 9]] = 5e31
    mapped.close()
    reports: list[Any] = []
    node = graph.node("panel")
    node.create_subscription(
        DiagnosticArray,
        "/diagnostics",
        lambda array: reports.extend(status for status in array.status if status.name.endswith(": learner")),
        qos.DIAGNOSTICS,
    )
    learner(graph, tmp_path)
    station.hears_all_paid()
    graph.until(lambda: reports and reports[-1].level == WARN, what="a warning of damaged rows")
    assert "skips 2 damaged rows of" in reports[-1].message
    assert {value.key: value.value for value in reports[-1].values}["damaged_rows"] == "2"
    assert metrics(tmp_path)[-1]["damaged_rows"] == 2.0


def test_no_actor_is_published_before_the_take_over(graph: Any, station: Station, tmp_path: Path) -> None:
    learner(graph, tmp_path, **{"rlt.warmup_updates": 40, "publish_every": 2})
    station.stores(1, 2)
    station.hears(state=LearnerStatus.CAUGHT_UP, critic_steps=40)
    graph.until(lambda: station.updates)
    assert [update.version for update in station.updates] == [20]  # the one at the take-over is the first


def test_an_actor_is_published_while_a_debt_is_paid(graph: Any, station: Station, tmp_path: Path) -> None:
    learner(graph, tmp_path, **{"rlt.utd": 40.0, "publish_every": 100})
    station.stores(1, 2)
    graph.until(lambda: station.updates)
    station.stores(3)
    station.hears(state=LearnerStatus.CAUGHT_UP, critic_steps=WARM_UP + 40 * 8)
    graph.until(lambda: station.updates[-1].version == (WARM_UP + 40 * 8) / 2)
    versions = [update.version for update in station.updates]
    assert versions == sorted(set(versions)) and len(versions) >= 4


def test_whoever_joins_later_gets_the_newest_actor_and_status(
    graph: Any, station: Station, tmp_path: Path
) -> None:
    learner(graph, tmp_path)
    station.stores(1, 2)
    station.hears_all_paid()
    late = Station(graph, tmp_path)
    graph.until(lambda: late.updates and late.statuses)
    assert late.updates[0].version == WARM_UP / 2


def test_a_kill_costs_no_row_and_the_next_one_pays_the_rest(
    graph: Any, station: Station, start_node: Callable[..., Any], tmp_path: Path
) -> None:
    parameters = {**PARAMETERS, "out": str(tmp_path), "checkpoint_period": 0.0}
    killed = start_node("learner_node", **parameters)
    station.stores(1, 2, 3)
    station.hears_all_paid()
    graph.until((tmp_path / "learner.safetensors").exists)
    killed.end(signal.SIGKILL)
    station.stores(4, 5, 6)
    station.updates.clear()
    again = start_node("learner_node", **parameters)
    status = station.hears_all_paid()
    graph.until(lambda: station.updates and station.updates[-1].version == status.actor_steps)
    assert again.end() == 0
    assert "resumes after" in again.log
    updates = [record["updates"] for record in metrics(tmp_path)]
    assert updates[-1] == status.critic_steps // 10 * 10 and len(set(updates)) == status.critic_steps // 10
    replay = Replay.attach(tmp_path / "replay.rlt", SHAPES, lineage=LINEAGE)
    assert replay.total == station.rows


def test_a_disk_without_room_for_the_checkpoint_ends_the_learner_and_the_next_one_learns_it_again(
    graph: Any, station: Station, start_node: Callable[..., Any], tmp_path: Path
) -> None:
    parameters = {**PARAMETERS, "out": str(tmp_path), "checkpoint_period": 0.0}
    full = start_node("learner_node", **parameters)
    resource.prlimit(full.process.pid, resource.RLIMIT_FSIZE, (20_000, 20_000))
    station.stores(1, 2, 3)
    assert full.process.wait(60) == 2
    assert "learner.safetensors: could not be written" in full.log and "Traceback" not in full.log
    assert not (tmp_path / "learner.safetensors").exists()
    again = start_node("learner_node", **parameters)
    station.statuses.clear()
    station.stores(4)
    station.hears_all_paid()
    assert again.end() == 0
    assert (tmp_path / "learner.safetensors").stat().st_size > 20_000


def test_a_replay_of_another_chunk_is_an_error_that_says_what_to_do(
    station: Station, start_node: Callable[..., Any], tmp_path: Path
) -> None:
    station.stores(1)
    wrong = start_node("learner_node", **{**PARAMETERS, "out": str(tmp_path), "rlt.chunk": 10})
    assert wrong.process.wait(60) == 2
    assert "`rlt.chunk` is 10" in wrong.log
