"""Two robots in two namespaces, one replay, one learner: the processes that ``rlt-ros launch train`` makes of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from tiny_vla import CAMERAS, INSTRUCTION, JOINTS, SIDE, TASK, write_tiny_vla

from rlt_ros.bringup import Arguments
from rlt_ros.bringup import graph as nodes_of
from rlt_ros.middleware.messages import (
    ActionChunk,
    ChunkRequest,
    EpisodeState,
    ExecutedStep,
    LearnerStatus,
    Observation,
    PolicyUpdate,
    ReplayStatus,
)
from rlt_ros.perception import Observation as Seen
from rlt_ros.replay.episode_assembler import episode_offset
from rlt_ros.replay.ring import Replay, ReplayFormat
from rlt_ros.replay.stream import ActionChunk as Chunk
from rlt_ros.replay.stream import EpisodeOutcome, Phase, StepRecord
from rlt_ros.replay.stream import EpisodeState as Episode
from rlt_ros.rlt.transition import Source
from rlt_ros.ros import qos
from rlt_ros.ros.conversions import (
    read_chunk,
    to_header,
    write_episode,
    write_observation,
    write_step,
)

PERIOD, CHUNK, STEPS = 20_000_000, 4, 8
ROBOTS = ("left", "right")
SETTINGS = {
    "chunk": CHUNK,
    "hidden": [8],
    "batch_size": 4,
    "warmup_episodes": 2,
    "warmup_updates": 6,
    "min_rows": 4,
    "replay_capacity": 2000,
    "compute": "float32",
}
REAL = ("inference_node", "replay_node", "learner_node")
"""Real nodes; robot, perception, executor and episodes are simulated message by message."""


class Robot:
    """One robot in its namespace."""

    def __init__(self, graph: Any, name: str) -> None:
        self.graph, self.name, self.chunks = graph, name, list[Any]()
        node = graph.node("robot", namespace=name)
        self._episodes = node.create_publisher(EpisodeState, "rlt/episode_state", qos.EPISODE_STATE)
        self._observations = node.create_publisher(Observation, "rlt/observation", qos.OBSERVATION)
        self._steps = node.create_publisher(ExecutedStep, "rlt/executed_step", qos.EXECUTED_STEP)
        self._requests = node.create_publisher(ChunkRequest, "rlt/chunk_request", qos.CHUNK_REQUEST)
        node.create_subscription(ActionChunk, "rlt/action_chunk", self.chunks.append, qos.ACTION_CHUNK)

    def meets(self) -> None:
        """Wait until its own inference and the common replay listen."""
        wanted = {self._episodes: 2, self._steps: 2, self._observations: 1, self._requests: 1}
        self.graph.until(
            lambda: all(one.get_subscription_count() >= count for one, count in wanted.items()),
            what=f"the nodes of {self.name}",
        )

    def does(self, episode: int, outcome: EpisodeOutcome) -> list[Chunk]:
        """Run an episode of :data:`STEPS` critical steps; return its chunks."""
        self._says(episode, Phase.CRITICAL)
        chunks = []
        for step in range(STEPS):
            self._sees(step)
            if step % CHUNK == 0:
                chunks.append(self._asks(episode, step))
            joints = np.zeros(JOINTS, np.float32)
            record = StepRecord(step * PERIOD, episode, step, chunks[-1].source, joints, joints)
            self._steps.publish(write_step(record))
        reward = float(outcome is EpisodeOutcome.SUCCESS)
        self._says(episode, Phase.DONE, outcome=outcome, reward=reward, steps=STEPS)
        return chunks

    def does_until_the_actor_acts(self, episode: int) -> Chunk:
        """Episodes from a number on, as long as the actor is on its way; returns its first chunk."""
        for number in range(episode, episode + 100):
            for chunk in self.does(number, EpisodeOutcome.SUCCESS):
                if chunk.source is Source.ACTOR:
                    return chunk
        raise AssertionError(f"the actor never acts on {self.name}")

    def _says(self, episode: int, phase: Phase, **fields: Any) -> None:
        state = Episode(episode, phase, instruction=INSTRUCTION, seed=1, **fields)
        self._episodes.publish(write_episode(state))

    def _sees(self, step: int) -> None:
        rng = np.random.default_rng([step, len(self.name)])
        images = {camera: rng.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8) for camera in CAMERAS}
        seen = Seen(step * PERIOD, images, rng.normal(size=JOINTS), rng.normal(size=JOINTS))
        joints = [f"j{i}" for i in range(JOINTS)]
        self._observations.publish(write_observation(seen, episode=1, joints=joints))

    def _asks(self, episode: int, step: int) -> Chunk:
        before = len(self.chunks)
        phase = ChunkRequest.PHASE_CRITICAL
        self._requests.publish(
            ChunkRequest(header=to_header(step * PERIOD), episode=episode, step=step, phase=phase)
        )
        self.graph.until(lambda: len(self.chunks) > before, what=f"{self.name}'s chunk for step {step}")
        return read_chunk(self.chunks[-1], CHUNK, JOINTS)


@pytest.fixture
def robots(graph: Any, start_node: Callable[..., Any], tmp_path: Path) -> list[Robot]:
    """Both, in a graph that is there."""
    write_tiny_vla(tmp_path / "vla")
    settings = tmp_path / "settings.yaml"
    settings.write_text(yaml.safe_dump({"/**": {"ros__parameters": {"rlt": SETTINGS}}}))
    arguments = Arguments(
        task=TASK,
        vla=str(tmp_path / "vla"),
        sim=False,
        namespace=",".join(ROBOTS),
        params_file=str(settings),
        out=str(tmp_path / "run"),
    )
    made = [Robot(graph, name) for name in ROBOTS]
    for spec in nodes_of("train", arguments):
        if spec.executable in REAL:
            start_node(spec.executable, *spec.command_line()[1:])
    for robot in made:
        robot.meets()
    return made


def test_both_fill_one_replay_and_act_by_what_the_common_learner_made_of_it(
    graph: Any, robots: list[Robot], tmp_path: Path
) -> None:
    stored, learned, policies = list[Any](), list[Any](), list[Any]()
    here = graph.node("here")
    here.create_subscription(ReplayStatus, "rlt/replay_status", stored.append, qos.REPLAY_STATUS)
    here.create_subscription(LearnerStatus, "rlt/learner_status", learned.append, qos.LEARNER_STATUS)
    here.create_subscription(PolicyUpdate, "rlt/policy_update", policies.append, qos.POLICY_UPDATE)

    # Both count their episodes from 1. The learner waits for two, one that succeeded and one that failed.
    for robot, outcome in zip(robots, (EpisodeOutcome.SUCCESS, EpisodeOutcome.FAILURE), strict=True):
        assert [chunk.source for chunk in robot.does(1, outcome)] == [Source.VLA, Source.VLA]
    graph.until(lambda: stored and stored[-1].episodes == 2, what="two stored episodes")
    assert (stored[-1].successes, stored[-1].failures) == (1, 1)
    assert (stored[-1].duplicates, stored[-1].rejected) == (0, 0)
    graph.until(lambda: policies, what="an actor")
    graph.until(lambda: learned[-1].state == LearnerStatus.CAUGHT_UP, what="a learner that is caught up")
    assert learned[-1].rows == stored[-1].rows

    newest = {}
    for robot in robots:
        chunk = robot.does_until_the_actor_acts(2)
        newest[robot.name] = chunk.version, chunk.lineage.actor
    published = {(message.version, message.lineage.actor) for message in policies}
    assert set(newest.values()) <= published

    rows = _rows_by_robot(tmp_path / "run" / "replay.rlt")
    assert rows.keys() == {episode_offset(name) for name in ROBOTS}
    for episodes in rows.values():
        assert 1 in episodes and len(episodes[1]) == len(set(episodes[1])) == STEPS // 2


def _rows_by_robot(path: Path) -> dict[int, dict[int, list[int]]]:
    """Offset of a robot → its episode → the steps at which its rows begin."""
    found = ReplayFormat.read(path)
    replay = Replay.attach(path, found.shapes, lineage=found.lineage)
    rows: dict[int, dict[int, list[int]]] = {}
    largest = 2**40
    for index in range(len(replay)):
        window = replay.window(index)
        number = window.episode % largest
        rows.setdefault(window.episode - number, {}).setdefault(number, []).append(window.step)
    replay.close()
    return rows
