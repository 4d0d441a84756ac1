"""Training run of stage 1: embeddings of demonstrations → a trained, frozen, normalised RL token.

With a frozen VLA (`TokenConfig.vla_weight` 0) every frame is embedded once, into a memory-mapped half-precision file
from which the token is trained. With a weight α > 0 the VLA is trained with its own loss at the same time, so
embeddings are computed in every step (RLT, arXiv:2604.23073, `L_ro(φ) + α · L_vla(θ)`).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from rlt_ros.data.frames import Frames
from rlt_ros.experiments.vla_training import VLATrainer
from rlt_ros.rlt.networks import autocast
from rlt_ros.rlt.token import TokenAutoencoder, TokenConfig
from rlt_ros.rlt.token_readouts import Readout
from rlt_ros.rlt.training import Progress, TrainingState, cosine_rate, train_until
from rlt_ros.store.lineage import fingerprint
from rlt_ros.store.storage import replacing
from rlt_ros.vla.builtin.policy import BuiltinVLA
from rlt_ros.vla.protocol import VLA

_KIND = "rl-token-training"
_EMBED_BATCH = 32


class Drawn(NamedTuple):
    """Embeddings (B, M, D) and mask (B, M) of a random batch, and the loss of a VLA in training."""

    embeddings: Tensor
    mask: Tensor
    vla_loss: Tensor | None


class EmbeddingSource(Protocol):
    """Source of a training run's embeddings."""

    def draw(self, batch: int, generator: torch.Generator) -> Drawn:
        """Draw a random batch."""
        ...

    def trained(self) -> nn.Module | None:
        """Network of a VLA in training, or None."""
        ...

    def sweep(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Iterate over all observations once, in batches of (embeddings, mask)."""
        ...

    @property
    def vla(self) -> VLA:
        """VLA of the embeddings, with its current weights."""
        ...


class CachedEmbeddings:
    """Embeddings of a frozen VLA, computed once and stored in a half-precision file of N · M · D · 2 bytes."""

    def __init__(
        self, vla: VLA, frames: Frames, path: Path, on_batch: Callable[[int], None] | None = None
    ) -> None:
        """Reuse the finished cache of this VLA and these frames at ``path``, or create it."""
        self._vla = vla
        self._shape = (len(frames), vla.spec.tokens, vla.spec.embed_dim)
        path = path.with_name(f"{path.name}-{vla.fingerprint}-{len(frames)}.f16")
        if not path.exists():
            with replacing(path) as part:
                self._fill(frames, np.memmap(part, np.float16, "w+", shape=self._shape), on_batch)
        self.embeddings = np.memmap(path, np.float16, "r", shape=self._shape)

    @property
    def vla(self) -> VLA:
        """The frozen VLA."""
        return self._vla

    def trained(self) -> None:
        """Return None: only the token is trained."""

    def draw(self, batch: int, generator: torch.Generator) -> Drawn:
        """Draw a random batch."""
        rows = torch.randint(self._shape[0], (batch,), generator=generator).sort().values
        return Drawn(*self._read(self.embeddings[rows.numpy()]), None)

    def sweep(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Iterate over all frames once, in order."""
        for start in range(0, self._shape[0], 256):
            yield self._read(self.embeddings[start : start + 256])

    def _read(self, rows: np.ndarray) -> tuple[Tensor, Tensor]:
        embeddings = torch.from_numpy(rows.astype(np.float32))
        return embeddings, torch.ones(embeddings.shape[:2], dtype=torch.bool)

    def _fill(self, frames: Frames, cache: np.memmap, on_batch: Callable[[int], None] | None) -> None:
        for rows in torch.arange(len(frames)).split(_EMBED_BATCH):
            embeddings, mask = self._vla.embed(frames.observations(rows))
            if not mask.all():
                raise ValueError("the VLA pads its image tokens; the cache holds unpadded embeddings only")
            cache[rows.numpy()] = embeddings.numpy()
            if on_batch is not None:
                on_batch(len(rows))
        cache.flush()


class LearningVLA:
    """Embeddings of the built-in VLA during its imitation training."""

    def __init__(self, trainer: VLATrainer) -> None:
        """``trainer`` has demonstrations, losses and the initial network."""
        self._trainer = trainer

    @property
    def vla(self) -> BuiltinVLA:
        """VLA with its current weights."""
        trainer = self._trainer
        return BuiltinVLA(trainer.blueprint, trainer.statistics, trainer.network.state_dict())

    def trained(self) -> nn.Module:
        """Network of the VLA."""
        return self._trainer.network

    def draw(self, batch: int, generator: torch.Generator) -> Drawn:
        """Draw a random batch with the VLA's loss."""
        indices = torch.randint(len(self._trainer.frames), (batch,), generator=generator)
        done = self._trainer.forward(indices, generator)
        loss = done.losses["flow"] + self._trainer.training.goal_weight * done.losses["goal"]
        return Drawn(done.embeddings, done.mask, loss)

    def sweep(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Iterate over all frames once, without augmentation, with the current VLA."""
        vla, frames = self.vla, self._trainer.frames
        for rows in torch.arange(len(frames)).split(_EMBED_BATCH):
            yield vla.embed(frames.observations(rows))


class StageOne(nn.Module):
    """Forward pass of stage 1 as a module, for distribution over devices by `accelerate`."""

    def __init__(self, config: TokenConfig, source: EmbeddingSource) -> None:
        """Initialise the token's weights from the configured seed."""
        super().__init__()
        spec = source.vla.spec
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            self.token = TokenAutoencoder(
                config, embed_dim=spec.embed_dim, tokens=spec.tokens, vla=source.vla.fingerprint
            )
        self.vla_network = source.trained() if config.vla_weight > 0 else None
        self._config, self._source = config, source

    def forward(self, generator: torch.Generator) -> dict[str, Tensor]:
        """Losses of a random batch: ``reconstruction``, ``vla`` of a VLA in training, weighted sum ``total``."""
        config = self._config
        drawn = self._source.draw(config.batch, generator)
        device = self.token.encoder.special.device
        reconstruction = self.token.loss(
            drawn.embeddings.to(device),
            drawn.mask.to(device),
            context_dropout=config.context_dropout,
            generator=generator,
        )
        if drawn.vla_loss is None:
            return {"reconstruction": reconstruction, "total": reconstruction}
        total = reconstruction + config.vla_weight * drawn.vla_loss
        return {"reconstruction": reconstruction, "vla": drawn.vla_loss, "total": total}


class TokenTrainer:
    """Trainer of a token. Usage: construct, `resume` from a checkpoint, `run`, `finish`."""

    def __init__(self, config: TokenConfig, source: EmbeddingSource) -> None:
        """Prepare training, on all devices given by ``accelerate launch`` or ``torchrun``."""
        if (config.vla_weight > 0) != (source.trained() is not None):
            raise ValueError(
                f"vla_weight is {config.vla_weight}: 0 needs a frozen VLA's cached embeddings, "
                "a positive weight needs a VLA in training"
            )
        self.config, self.source = config, source
        self.stage = StageOne(config, source)
        self._accelerator = _accelerator()
        rank = 0
        self._forward: Callable[[torch.Generator], dict[str, Tensor]] = self.stage
        if self._accelerator is not None:
            self._forward = self._accelerator.prepare(self.stage)
            rank = self._accelerator.process_index
        self.state = TrainingState(
            self.stage, weight_decay=config.weight_decay, average=config.ema, seed=config.seed + rank
        )
        self._first_vla = source.vla.fingerprint
        self._run = fingerprint(f"{config}{self._first_vla}".encode())

    def resume(self, checkpoint: Path) -> bool:
        """Continue from an existing checkpoint; returns whether there is one."""
        if not checkpoint.exists():
            return False
        self.state.load(checkpoint, kind=_KIND, run=self._run)
        return True

    def save(self, checkpoint: Path) -> None:
        """Write a checkpoint atomically, in the first of several processes."""
        if self._accelerator is None or self._accelerator.is_main_process:
            self.state.save(checkpoint, kind=_KIND, run=self._run)

    def run(self, *, checkpoint: Path | None = None, progress: Progress | None = None) -> None:
        """Train up to the configured number of steps."""
        train_until(
            self.config.steps,
            self,
            checkpoint=checkpoint,
            checkpoint_every=self.config.checkpoint_every,
            progress=progress,
        )

    def update(self) -> dict[str, Tensor]:
        """Make one optimiser step; returns the losses."""
        config = self.config
        with autocast(config.compute, self.stage.token.encoder.special.device):
            losses = self._forward(self.state.generator)
        if self._accelerator is None:
            losses["total"].backward()
        else:
            self._accelerator.backward(losses["total"])
        rate = cosine_rate(
            self.state.step, peak=config.learning_rate, warmup=config.warmup, steps=config.steps
        )
        self.state.apply(rate=rate, clip=config.gradient_clip)
        return {name: value.detach() for name, value in losses.items()}

    def finish(self) -> TokenAutoencoder:
        """Token with averaged, frozen weights and z normalised over all observations of the source."""
        self.stage.load_state_dict(self.state.averaged)
        token = self.stage.token.cpu().requires_grad_(False).eval()
        token.encoder.vla = self.source.vla.fingerprint
        normalise(token.encoder, self.source)
        return token


def normalise(encoder: Readout, source: EmbeddingSource) -> None:
    """Freeze a readout and fit its normalisation on all observations of a source."""
    encoder.freeze()
    encoder.fit_normalisation(source.sweep())


def encode_all(
    encoder: Readout, batches: Iterator[tuple[Tensor, Tensor]] | Sequence[tuple[Tensor, Tensor]]
) -> Tensor:
    """Normalised tokens (n, Z) of all batches."""
    with torch.no_grad():
        return torch.cat([encoder(embeddings, mask) for embeddings, mask in batches])


def _accelerator() -> Any:
    """Create an `accelerate.Accelerator` if a launcher started several processes, else None."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return None
    try:
        import accelerate
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "training on several devices needs accelerate: pip install 'rlt_ros[train]'"
        ) from error
    return accelerate.Accelerator()
