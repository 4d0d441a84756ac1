"""Imitation training of the built-in VLA on chunks and end positions of demonstrations.

Two losses. Flow matching on the next H commands trains the policy, including hesitations. The goal loss predicts the
joint displacement to the end of a successful demonstration, linearly from the mean image embedding: with it the
embeddings encode the target's position relative to the tool with the precision of the demonstrations, although the
policy's chunks are short. Both targets are computed from the recorded joints alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from rlt_ros.data.demonstrations import Demonstration
from rlt_ros.data.frames import Frames, displacements
from rlt_ros.rlt.networks import autocast
from rlt_ros.rlt.training import Progress, TrainingState, cosine_rate, train_until
from rlt_ros.store.lineage import fingerprint
from rlt_ros.vla.builtin.config import VLAConfig, VLATrainingConfig
from rlt_ros.vla.builtin.policy import Blueprint, BuiltinVLA, Network, stack_images
from rlt_ros.vla.builtin.statistics import Statistics
from rlt_ros.vla.builtin.text import UNKNOWN, Vocabulary

_KIND = "builtin-vla-training"


class Pass(NamedTuple):
    """Training pass: image embeddings (B, M, D), their mask (B, M), and scalar losses by name."""

    embeddings: Tensor
    mask: Tensor
    losses: dict[str, Tensor]


class VLATrainer:
    """Trainer of the built-in VLA. Usage: construct, `resume` from a checkpoint, `run`, `vla`."""

    def __init__(
        self,
        demonstrations: Sequence[Demonstration],
        cameras: tuple[str, ...],
        config: VLAConfig,
        training: VLATrainingConfig,
    ) -> None:
        """Compute statistics and vocabulary from ``demonstrations``."""
        self.training = training
        self.frames = Frames(demonstrations, cameras)
        self.statistics = statistics_of(demonstrations, horizon=config.horizon, chunk=training.chunk)
        self.blueprint = Blueprint.of(
            config,
            cameras=cameras,
            image_size=self.frames.image_size,
            action_dim=demonstrations[0].action_dim,
            vocabulary=Vocabulary.of(d.instruction for d in demonstrations),
        )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(training.seed)
            self.network = Network(self.blueprint)
        self.state = TrainingState(
            self.network, weight_decay=training.weight_decay, average=training.ema, seed=training.seed
        )
        facts = (
            f"{self.blueprint.to_json()}{training}{fingerprint(self.statistics.tensors())}{len(self.frames)}"
        )
        self._run = fingerprint(facts.encode())

    @property
    def vla(self) -> BuiltinVLA:
        """VLA with the current averaged weights."""
        return BuiltinVLA(self.blueprint, self.statistics, self.state.averaged)

    def resume(self, checkpoint: Path) -> bool:
        """Continue from an existing checkpoint; returns whether there is one."""
        if not checkpoint.exists():
            return False
        self.state.load(checkpoint, kind=_KIND, run=self._run)
        return True

    def save(self, checkpoint: Path) -> None:
        """Write a checkpoint atomically."""
        self.state.save(checkpoint, kind=_KIND, run=self._run)

    def run(self, *, checkpoint: Path | None = None, progress: Progress | None = None) -> None:
        """Train up to the configured number of steps."""
        train_until(
            self.training.steps,
            self,
            checkpoint=checkpoint,
            checkpoint_every=self.training.checkpoint_every,
            progress=progress,
        )

    def update(self) -> Mapping[str, Tensor]:
        """Make one optimiser step on a random batch; returns its losses."""
        training, generator = self.training, self.state.generator
        indices = torch.randint(len(self.frames), (training.batch,), generator=generator)
        with autocast(training.compute, torch.device("cpu")):
            losses = self.forward(indices, generator).losses
            total = losses["flow"] + training.goal_weight * losses["goal"]
        total.backward()
        rate = cosine_rate(
            self.state.step, peak=training.learning_rate, warmup=training.warmup, steps=training.steps
        )
        self.state.apply(rate=rate, clip=training.gradient_clip)
        return {name: value.detach() for name, value in losses.items()}

    def forward(self, indices: Tensor, generator: torch.Generator) -> Pass:
        """Embeddings and losses of some frames under augmentation, with gradients."""
        training, spec = self.training, self.blueprint.spec
        observations = self.frames.observations(indices)
        images = _photometric(stack_images(observations, spec.cameras), training.photometric, generator)
        words, words_mask = self.blueprint.vocabulary.encode(observations.instructions)
        dropped = torch.rand(words.shape, generator=generator) < training.word_dropout
        words = torch.where(dropped & words_mask, UNKNOWN, words)
        proprio = self.statistics.normalise_proprio(observations.proprio)
        proprio = proprio + training.proprio_noise * torch.randn(proprio.shape, generator=generator)
        known = torch.rand(len(indices), generator=generator) >= training.proprio_dropout
        prefix, mask = self.network.prefix(images, words, words_mask, proprio, known)
        displacement = self.frames.displacements(indices, spec.horizon)
        chunk = self.statistics.normalise_chunk(displacement / self.statistics.action_scale)
        flow = self.network.head.loss(chunk, prefix, mask, training.flow_samples, generator)
        losses = {"flow": flow, "goal": self._goal_loss(prefix, indices)}
        return Pass(prefix[:, : spec.tokens], mask[:, : spec.tokens], losses)

    def _goal_loss(self, prefix: Tensor, indices: Tensor) -> Tensor:
        displacement, ended_well = self.frames.goals(indices)
        target = self.statistics.compress_goal(displacement)
        predicted = self.network.goal(prefix[:, : self.blueprint.spec.tokens].mean(dim=1)).float()
        error = (predicted - target).square().mean(dim=1)
        return (error * ended_well).sum() / ended_well.sum().clamp(min=1)


def statistics_of(demonstrations: Sequence[Demonstration], *, horizon: int, chunk: int) -> Statistics:
    """Compute statistics over all camera frames of demonstrations."""
    return Statistics.of(
        np.concatenate([displacements(d, d.image_steps, horizon) for d in demonstrations]),
        np.concatenate([d.proprio[d.image_steps] for d in demonstrations]),
        chunk=chunk,
    )


def _photometric(images: Tensor, spread: float, generator: torch.Generator) -> Tensor:
    """Mix and offset the colours of each image (B, cameras, 3, h, w) randomly, without changing geometry.

    Every demonstration has its own colours and light; the mixture keeps the network from memorising demonstrations.
    """
    batch, cameras, channels, height, _ = images.shape
    shape = (batch, cameras, channels, channels)
    mixture = torch.eye(channels) + spread * torch.randn(shape, generator=generator)
    offset = spread * torch.randn((batch, cameras, 1, channels), generator=generator)
    # Channels are already last in memory.
    pixels = images.permute(0, 1, 3, 4, 2).flatten(2, 3)
    return (pixels @ mixture + offset).unflatten(2, (height, -1)).permute(0, 1, 4, 2, 3)
