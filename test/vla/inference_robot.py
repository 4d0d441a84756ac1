"""Inference with a simulated environment: observations, requests, episodes, and actors."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
import torch

from rlt_ros.acting.chunk_server import Output
from rlt_ros.acting.inference import Inference
from rlt_ros.acting.inference_config import InferenceConfig
from rlt_ros.learning.checkpoint import PolicyUpdate
from rlt_ros.perception import Observation
from rlt_ros.replay.stream import ActionChunk, ChunkRequest, EpisodeOutcome, EpisodeState, Phase, StateRecord
from rlt_ros.rlt.config import RLTConfig, Shapes
from rlt_ros.rlt.networks import Actor
from rlt_ros.robots.action_space import ActionSpace
from rlt_ros.store.lineage import Lineage
from rlt_ros.vla.frozen import VLAFeatures

# ns
PERIOD = 20_000_000
CHUNK, HORIZON, STRIDE, JOINTS, Z = 4, 6, 2, 3, 5
SHAPES = Shapes(z_dim=Z, proprio_dim=2 * JOINTS, chunk=CHUNK, action_dim=JOINTS)
CONFIG = RLTConfig(chunk=CHUNK, stride=STRIDE, hidden=(8,), sigma=0.1)


class StampEncoder:
    """Encoder whose token is the observation's stamp; the chunk is noise."""

    action_space = ActionSpace(np.array([0.1, 0.2, 0.3]))
    z_dim = Z
    lineage = Lineage(vla="v", token="t", stats=action_space.fingerprint)

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.blind = False
        # What another thread does during a pass.
        self.meanwhile: Callable[[], None] | None = None

    def encode(
        self, observations: Sequence[Observation], instruction: str, generator: torch.Generator
    ) -> VLAFeatures:
        self.batches.append([round(o.stamp / PERIOD) for o in observations])
        if self.meanwhile:
            self.meanwhile()
        count = len(observations)
        z = np.array([[0.0 if self.blind else o.stamp / PERIOD] * Z for o in observations], np.float32)
        proprio = np.stack([o.proprio for o in observations]).astype(np.float32)
        return VLAFeatures(z, proprio, torch.randn(count, HORIZON, JOINTS, generator=generator).numpy())


class Robot:
    """Inference and its inputs. Step k is commanded at k periods."""

    def __init__(self, **options: float) -> None:
        self.now = 0.0
        self.encoder = StampEncoder()
        self.dropped: list[tuple[str, str]] = []
        self.inference = Inference(
            self.encoder,
            CONFIG,
            InferenceConfig(**options),  # type: ignore[arg-type]
            1e9 / PERIOD,
            lambda kind, reason: self.dropped.append((kind, reason)),
            clock=lambda: self.now,
        )

    def episode(self, phase: Phase, number: int = 1, **fields: object) -> None:
        state = EpisodeState(number, phase, instruction="go", seed=7, **fields)  # type: ignore[arg-type]
        self.inference.update_episode(state)

    def done(
        self, steps: int, outcome: EpisodeOutcome = EpisodeOutcome.SUCCESS, **fields: object
    ) -> list[Output]:
        self.episode(Phase.DONE, steps=steps, outcome=outcome, **fields)
        return self.inference.work()

    def sees(self, *steps: int) -> None:
        for step in steps:
            position = np.full(JOINTS, 0.01 * step)
            self.inference.observe(Observation(step * PERIOD, {}, position, np.zeros(JOINTS)))

    def executes(self, *steps: int, episode: int = 1) -> None:
        for step in steps:
            self.inference.add_step(episode, step, step * PERIOD)

    def asks(
        self,
        step: int,
        phase: Phase = Phase.CRITICAL,
        *,
        at: int | None = None,
        overlap: bool = False,
        expected: Sequence[float] | None = None,
    ) -> list[Output]:
        stamp = (step if at is None else at) * PERIOD
        place = None if expected is None else np.array(expected)
        self.inference.request(ChunkRequest(stamp, 1, step, phase, overlap, place))
        return self.inference.work()

    def runs(self, *, chunks: int = 2, start: int = 0, **fields: object) -> list[Output]:
        """The first ``chunks`` of a critical phase, with a picture at every window start."""
        self.episode(Phase.CRITICAL, **fields)
        output: list[Output] = []
        for border in range(start, start + chunks * CHUNK, CHUNK):
            self.sees(border)
            output += self.asks(border)
            self.executes(*range(border, border + CHUNK))
            self.sees(*range(border + STRIDE, border + CHUNK, STRIDE))
        return output


def actor(version: int = 1, *, offset: float = 5.0) -> PolicyUpdate:
    """An actor whose actions are far from the VLA's."""
    made = Actor(SHAPES, (8,), dtype=torch.float32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        made.body.biases[-1].fill_(offset)
    return PolicyUpdate(
        made.requires_grad_(False), version, dataclasses.replace(StampEncoder.lineage, actor=f"a{version}")
    )


def states(output: Sequence[Output]) -> list[int]:
    return [record.state.step for record in output if isinstance(record, StateRecord)]


def chunks(output: Sequence[Output]) -> list[ActionChunk]:
    return [record for record in output if isinstance(record, ActionChunk)]
