"""Inference node: chunks on request, states for the replay, and the acting policy."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from own_graph import PATIENCE
from tiny_vla import CAMERAS, INSTRUCTION, JOINTS, SIDE, TASK, write_tiny_vla

from rlt_ros.learning.checkpoint import export_actor, save_learner
from rlt_ros.middleware import MultiThreadedExecutor, Parameter, TransitionCallbackReturn
from rlt_ros.middleware.messages import (
    ActionChunk,
    ChunkRequest,
    DiagnosticArray,
    EpisodeState,
    ExecutedStep,
    Observation,
    PolicyUpdate,
    RLState,
)
from rlt_ros.nodes.inference_node import InferenceNode
from rlt_ros.perception import Observation as Seen
from rlt_ros.replay.stream import EpisodeOutcome, Phase, StepRecord
from rlt_ros.replay.stream import EpisodeState as Episode
from rlt_ros.rlt.config import RLTConfig, Shapes
from rlt_ros.rlt.learner import Learner
from rlt_ros.rlt.transition import Source
from rlt_ros.ros import qos
from rlt_ros.ros.conversions import (
    read_chunk,
    read_state,
    to_header,
    write_episode,
    write_observation,
    write_policy,
    write_step,
)
from rlt_ros.store.lineage import Lineage, fingerprint
from rlt_ros.vla.frozen import FrozenVLA

PERIOD = 20_000_000  # ns
CHUNK, STRIDE, SEED = 4, 2, 11
CONFIG = RLTConfig(chunk=CHUNK, stride=STRIDE, hidden=(8,), compute="float32")
JOINT_NAMES = [f"j{i}" for i in range(JOINTS)]


class Robot:
    """Publishers of perception, executor, episodes and learner; subscriber of the inference."""

    def __init__(self, graph: Any, frozen: FrozenVLA) -> None:
        self.graph, self.frozen = graph, frozen
        self.shapes = Shapes(frozen.z_dim, 2 * JOINTS, CHUNK, JOINTS)
        self.states: list[Any] = []
        self.chunks: list[Any] = []
        self.diagnostics: list[Any] = []
        node = graph.node("robot")
        self.episodes = node.create_publisher(EpisodeState, "rlt/episode_state", qos.EPISODE_STATE)
        self.observations = node.create_publisher(Observation, "rlt/observation", qos.OBSERVATION)
        self.steps = node.create_publisher(ExecutedStep, "rlt/executed_step", qos.EXECUTED_STEP)
        self.requests = node.create_publisher(ChunkRequest, "rlt/chunk_request", qos.CHUNK_REQUEST)
        self.policies = node.create_publisher(PolicyUpdate, "rlt/policy_update", qos.POLICY_UPDATE)
        node.create_subscription(RLState, "rlt/rl_state", self.states.append, qos.RL_STATE)
        node.create_subscription(ActionChunk, "rlt/action_chunk", self.chunks.append, qos.ACTION_CHUNK)
        node.create_subscription(DiagnosticArray, "/diagnostics", self.diagnostics.append, qos.DIAGNOSTICS)
        self._publishers = (self.episodes, self.observations, self.steps, self.requests, self.policies)

    def meets(self) -> None:
        self.graph.until(
            lambda: all(one.get_subscription_count() for one in self._publishers), what="discovery"
        )

    def begins(self, episode: int, phase: Phase = Phase.CRITICAL, **fields: Any) -> None:
        state = Episode(episode, phase, instruction=INSTRUCTION, seed=SEED, **fields)
        self.episodes.publish(write_episode(state))

    def sees(self, step: int) -> Seen:
        seen = observation(step)
        self.observations.publish(write_observation(seen, episode=1, joints=JOINT_NAMES))
        return seen

    def executes(self, episode: int, *steps: int) -> None:
        for step in steps:
            joints = np.zeros(JOINTS, np.float32)
            record = StepRecord(step * PERIOD, episode, step, Source.VLA, joints, joints)
            self.steps.publish(write_step(record))

    def asks(
        self,
        episode: int,
        step: int,
        phase: int = ChunkRequest.PHASE_CRITICAL,
        boundary: int = ChunkRequest.BOUNDARY_BLOCK,
    ) -> Any:
        """Chunk for a step."""
        before = len(self.chunks)
        request = ChunkRequest(
            header=to_header(step * PERIOD), episode=episode, step=step, phase=phase, boundary=boundary
        )
        self.requests.publish(request)
        self.graph.until(lambda: len(self.chunks) > before, what=f"a chunk for step {step}")
        return read_chunk(self.chunks[-1], CHUNK, JOINTS)

    def sends_actor(self, message: Any) -> None:
        self.policies.publish(message)

    def hears_of(self, kind: str) -> str:
        """First diagnostics message about dropped input of a kind."""
        return str(self._hears(lambda status: kind in status.message, kind).message)

    def hears_of_version(self, version: int) -> None:
        """Wait until the diagnostics report this policy version."""
        wanted = ("version", str(version))
        self._hears(lambda status: wanted in [(v.key, v.value) for v in status.values], f"version {version}")

    def _hears(self, condition: Callable[[Any], bool], what: str) -> Any:
        found: list[Any] = []

        def there() -> bool:
            while self.diagnostics and not found:
                found.extend(status for status in self.diagnostics.pop(0).status if condition(status))
            return bool(found)

        self.graph.until(there, what=f"diagnostics about {what}")
        return found[0]


def observation(step: int) -> Seen:
    rng = np.random.default_rng(step)
    images = {name: rng.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8) for name in CAMERAS}
    return Seen(step * PERIOD, images, rng.normal(size=JOINTS), rng.normal(size=JOINTS))


def learner(frozen: FrozenVLA, *, version: int, action: float) -> Learner:
    """Learner whose actor always answers ``action``."""
    made = Learner(CONFIG, Shapes(frozen.z_dim, 2 * JOINTS, CHUNK, JOINTS))
    made.actor_steps = version
    with torch.no_grad():
        for parameter in made.actor.parameters():
            parameter.zero_()
        made.actor.body.biases[-1].fill_(action)
    return made


def policy(frozen: FrozenVLA, *, version: int, action: float = 2.0, lineage: Lineage | None = None) -> Any:
    made = learner(frozen, version=version, action=action)
    lineage = lineage or frozen.lineage
    named = dataclasses.replace(lineage, actor=fingerprint(made.actor.state_dict()))
    return write_policy(export_actor(made, lineage=lineage), stamp=version, version=version, lineage=named)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiny")
    write_tiny_vla(folder)
    return folder


@pytest.fixture
def robot(graph: Any, weights: Path) -> Robot:
    return Robot(graph, write_tiny_vla(weights))


def inference(graph: Any, weights: Path, *, active: bool = True, **parameters: Any) -> InferenceNode:
    """Inference node in this process."""
    values = {
        "vla": str(weights),
        "task": TASK,
        "rlt.chunk": CHUNK,
        "rlt.stride": STRIDE,
        "rlt.sigma": 0.0,
        "patience": 20.0,
        **parameters,
    }
    node = InferenceNode(parameter_overrides=[Parameter(name, value=value) for name, value in values.items()])
    graph.add(node)
    assert node.trigger_configure() == TransitionCallbackReturn.SUCCESS
    if active:
        assert node.trigger_activate() == TransitionCallbackReturn.SUCCESS
    return node


def begun(graph: Any, robot: Robot, weights: Path) -> None:
    """Inference in the critical phase of episode 1, after its first step."""
    inference(graph, weights)
    robot.meets()
    robot.begins(1)
    robot.sees(0)


def test_states_and_chunks_are_those_of_one_process(graph: Any, robot: Robot, weights: Path) -> None:
    inference(graph, weights)
    robot.meets()
    robot.begins(1)
    noise = torch.Generator().manual_seed(SEED)
    passes = []
    for border in (0, 4):
        batch = [observation(step) for step in (range(border - 2, border + 1, 2) if border else (0,))]
        passes.append(robot.frozen.encode(batch, INSTRUCTION, noise))
        robot.sees(border)
        chunk = robot.asks(1, border)
        np.testing.assert_array_equal(chunk.action, passes[-1].chunk[-1, :CHUNK])
        np.testing.assert_array_equal(chunk.anchor, observation(border).position.astype(np.float32))
        assert (chunk.source, chunk.version, chunk.stamp) == (Source.VLA, 0, border * PERIOD)
        robot.executes(1, *range(border, border + CHUNK))
        robot.sees(border + 2)
    robot.begins(1, Phase.DONE, outcome=EpisodeOutcome.TIMEOUT, steps=8)
    robot.sees(8)
    batch = [observation(6), observation(8)]
    passes.append(robot.frozen.encode(batch, INSTRUCTION, noise))
    graph.until(lambda: len(robot.states) == 5)
    records = [read_state(message, robot.shapes) for message in robot.states]
    assert [record.state.step for record in records] == [0, 2, 4, 6, 8]
    assert {record.lineage for record in records} == {robot.frozen.lineage}
    for name in ("z", "proprio"):
        expected = np.concatenate([getattr(one, name) for one in passes])
        np.testing.assert_array_equal([getattr(record.state, name) for record in records], expected)
    expected = np.concatenate([one.chunk[:, :CHUNK] for one in passes])
    np.testing.assert_array_equal([record.state.reference for record in records], expected)
    np.testing.assert_array_equal(records[0].scale, robot.frozen.action_space.scale.astype(np.float32))


def test_a_published_actor_acts_and_nothing_wrong_takes_its_place(
    graph: Any, robot: Robot, weights: Path
) -> None:
    begun(graph, robot, weights)
    assert robot.asks(1, 0).source is Source.VLA
    robot.sends_actor(policy(robot.frozen, version=3))
    robot.hears_of_version(3)
    foreign = policy(
        robot.frozen, version=9, action=5.0, lineage=dataclasses.replace(robot.frozen.lineage, token="other")
    )
    garbled = policy(robot.frozen, version=9, action=5.0)
    garbled.data[-1] ^= 255
    older = policy(robot.frozen, version=2, action=5.0)
    for message, says in ((foreign, "token is `other`"), (garbled, "checksum"), (older, "not newer than 3")):
        robot.sends_actor(message)
        assert says in robot.hears_of("policy update refused")
    robot.executes(1, 0, 1, 2, 3)
    robot.sees(2)
    robot.sees(4)
    chunk = robot.asks(1, 4)
    assert chunk.source is Source.ACTOR and chunk.version == 3 and chunk.lineage.actor
    np.testing.assert_allclose(chunk.action, 2.0, atol=1e-6)
    assert float(np.abs(chunk.reference - 2.0).max()) > 0.1  # the reference is sent as well


class TwoThreads:
    """Calls back for a node as its own process does."""

    def __init__(self) -> None:
        self._executor, self._over = MultiThreadedExecutor(2), threading.Event()
        self._thread = threading.Thread(target=self._spin)

    def add(self, node: InferenceNode) -> None:
        self.node = node
        self._executor.add_node(node)
        self._thread.start()

    def close(self) -> None:
        self._over.set()
        self._thread.join()
        self._executor.shutdown()
        self.node.destroy_node()

    def _spin(self) -> None:
        while not self._over.is_set():
            self._executor.spin_once(timeout_sec=0.05)


@pytest.fixture
def two_threads(graph: Any) -> Iterator[TwoThreads]:
    threads = TwoThreads()
    yield threads
    threads.close()


def test_an_actor_that_comes_during_a_pass_acts_in_the_chunk_of_that_pass(
    two_threads: TwoThreads, robot: Robot, weights: Path
) -> None:
    node = inference(two_threads, weights)
    robot.meets()
    frozen = node._frozen
    assert frozen is not None
    perceive = frozen.encode

    def slow_pass(*shown: Any) -> Any:
        robot.sends_actor(policy(robot.frozen, version=3))
        end = time.monotonic() + PATIENCE
        while not (node._inference and node._inference.version) and time.monotonic() < end:
            time.sleep(0.001)
        return perceive(*shown)

    frozen.encode = slow_pass  # type: ignore[method-assign]
    robot.begins(1)
    robot.sees(0)
    assert robot.asks(1, 0).version == 3


def test_an_actor_that_comes_before_the_border_takes_over_the_chunk_after_it(
    graph: Any, robot: Robot, weights: Path
) -> None:
    begun(graph, robot, weights)
    of_the_vla = robot.asks(1, 0, boundary=ChunkRequest.BOUNDARY_OVERLAP)
    robot.sends_actor(policy(robot.frozen, version=3))
    graph.until(lambda: len(robot.chunks) == 2, what="the chunk that is chosen anew")
    anew = read_chunk(robot.chunks[-1], CHUNK, JOINTS)
    assert (of_the_vla.version, anew.version, anew.step) == (0, 3, 0)
    np.testing.assert_array_equal(anew.reference, of_the_vla.reference)


def test_in_the_approach_the_vla_acts_although_there_is_an_actor(
    graph: Any, robot: Robot, weights: Path
) -> None:
    inference(graph, weights)
    robot.meets()
    robot.sends_actor(policy(robot.frozen, version=3))
    robot.begins(1, Phase.APPROACH)
    robot.sees(0)
    assert robot.asks(1, 0, ChunkRequest.PHASE_APPROACH).source is Source.VLA
    robot.begins(1)
    assert robot.asks(1, 0).source is Source.ACTOR
    assert len(robot.states) == 1  # that of the critical phase


def test_the_actor_of_a_checkpoint_acts_without_a_learner(
    graph: Any, robot: Robot, weights: Path, tmp_path: Path
) -> None:
    path = tmp_path / "learner.safetensors"
    save_learner(path, learner(robot.frozen, version=7, action=1.0), lineage=robot.frozen.lineage)
    inference(graph, weights, policy=str(path))
    robot.meets()
    robot.begins(1, eval=True)
    robot.sees(0)
    chunk = robot.asks(1, 0)
    assert chunk.source is Source.ACTOR and chunk.version == 7
    np.testing.assert_allclose(chunk.action, 1.0, atol=1e-6)


def test_an_inactive_inference_hears_but_does_not_answer(graph: Any, robot: Robot, weights: Path) -> None:
    node = inference(graph, weights, active=False)
    robot.meets()
    robot.begins(1)
    robot.sees(0)
    robot.requests.publish(ChunkRequest(header=to_header(0), episode=1, step=0, phase=3))
    robot.hears_of("inactive")
    assert node.trigger_activate() == TransitionCallbackReturn.SUCCESS
    assert robot.asks(1, 0).chunk == 1  # the request of before was not answered


def test_observations_that_the_vla_cannot_take_are_dropped_and_said_why(
    graph: Any, robot: Robot, weights: Path
) -> None:
    inference(graph, weights)
    robot.meets()
    whole = observation(0)
    dark = dataclasses.replace(whole, images={"head": whole.images["head"]})
    small = dataclasses.replace(whole, images={name: image[:8] for name, image in whole.images.items()})
    for bad, says in ((dark, "lacks camera 'hand_left'"), (small, "image of camera 'head' must be uint8")):
        robot.observations.publish(write_observation(bad, episode=1, joints=JOINT_NAMES))
        assert says in robot.hears_of("bad observation")
    robot.begins(1)
    robot.sees(0)
    assert robot.asks(1, 0).stamp == 0


def test_weights_that_are_not_there_are_an_error_that_names_them(
    start_node: Callable[..., Any], tmp_path: Path
) -> None:
    wrong = start_node("inference_node", vla=str(tmp_path / "nothing"), task=TASK)
    assert wrong.process.wait(60) == 2
    assert "nothing: holds no weights" in wrong.log


def test_a_task_without_an_rl_token_is_an_error_that_names_it(
    start_node: Callable[..., Any], weights: Path, tmp_path: Path
) -> None:
    (tmp_path / "teapot.yaml").write_text("name: teapot\ninstruction: put the lid on\n")
    wrong = start_node("inference_node", vla=str(weights), task=str(tmp_path / "teapot.yaml"))
    assert wrong.process.wait(60) == 2
    assert "lists no token_teapot.safetensors" in wrong.log


def test_it_starts_by_itself_and_leaves_when_asked(
    robot: Robot, start_node: Callable[..., Any], weights: Path, tmp_path: Path
) -> None:
    task = tmp_path / f"{TASK}.yaml"  # of one's own: the name says which RL token is meant
    task.write_text(f"name: {TASK}\ninstruction: plug it in\n")
    process = start_node("inference_node", vla=str(weights), task=str(task), **{"rlt.chunk": CHUNK})
    robot.meets()
    robot.begins(1)
    robot.sees(0)
    assert robot.asks(1, 0).chunk == 1
    assert process.end() == 0
