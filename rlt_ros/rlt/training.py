"""Offline training: learning-rate schedule, averaged weights and a resumable state."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor, nn

from rlt_ros.store.storage import load_tensors, save_tensors

Progress = Callable[[int, Mapping[str, float]], None]
"""progress(steps, metrics): called with the number of finished steps and the latest metrics."""

_REPORT_PERIOD = 20
"""Steps between two calls of the progress callback."""

_MODEL, _AVERAGE, _OPTIMISER, _GENERATOR = "model.", "average.", "optimiser.", "generator"


class Trainer(Protocol):
    """Model with its optimiser and loss."""

    state: TrainingState

    def update(self) -> Mapping[str, Tensor]:
        """Make one optimiser step; returns its losses."""
        ...

    def save(self, checkpoint: Path) -> None:
        """Write a checkpoint, atomically."""
        ...


def train_until(
    steps: int,
    trainer: Trainer,
    *,
    checkpoint: Path | None,
    checkpoint_every: int,
    progress: Progress | None,
) -> None:
    """Make updates up to step ``steps``, with periodic checkpoints and progress reports."""
    while trainer.state.step < steps:
        metrics = trainer.update()
        step = trainer.state.step
        if progress is not None and step % _REPORT_PERIOD == 0:
            progress(step, {name: float(value) for name, value in metrics.items()})
        if checkpoint is not None and step % checkpoint_every == 0:
            trainer.save(checkpoint)


def cosine_rate(step: int, *, peak: float, warmup: int, steps: int, floor: float = 0.02) -> float:
    """Learning rate of a step: linear warm-up to ``peak``, then a cosine down to ``floor · peak``."""
    if step < warmup:
        return peak * (step + 1) / warmup
    progress = (step - warmup) / max(1, steps - warmup)
    return peak * (floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * min(1.0, progress))))


class TrainingState:
    """State of a resumable run: module, AdamW, running average of the weights, random generator and step."""

    def __init__(self, module: nn.Module, *, weight_decay: float, average: float, seed: int) -> None:
        """``average`` is the decay of the averaged weights; vectors (norms, biases, positions) have no weight decay."""
        self.module = module
        self.step = 0
        self.generator = torch.Generator().manual_seed(seed)
        matrices = [p for p in module.parameters() if p.ndim > 1]
        vectors = [p for p in module.parameters() if p.ndim <= 1]
        groups = [
            {"params": matrices, "weight_decay": weight_decay},
            {"params": vectors, "weight_decay": 0.0},
        ]
        self.optimiser = torch.optim.AdamW(groups, betas=(0.9, 0.98), fused=True)
        self._decay = average
        self._averaged = {name: value.detach().clone() for name, value in module.state_dict().items()}

    def apply(self, *, rate: float, clip: float) -> None:
        """Make one optimiser step with the current gradients and update the running average."""
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        nn.utils.clip_grad_norm_(self.module.parameters(), clip, foreach=True)
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        self.step += 1
        # A short run must not average its random start.
        decay = min(self._decay, (1 + self.step) / (10 + self.step))
        current = self.module.state_dict()
        floating = [name for name, value in current.items() if value.is_floating_point()]
        torch._foreach_lerp_(
            [self._averaged[name] for name in floating], [current[name] for name in floating], 1 - decay
        )

    @property
    def averaged(self) -> dict[str, Tensor]:
        """Averaged weights, as a state dict."""
        return self._averaged

    def save(self, path: Path, *, kind: str, run: str) -> None:
        """Write the state atomically. ``run`` identifies data and configuration; `load` rejects another."""
        tensors = {_MODEL + name: value for name, value in self.module.state_dict().items()}
        tensors |= {_AVERAGE + name: value for name, value in self._averaged.items()}
        for index, entry in self.optimiser.state_dict()["state"].items():
            tensors |= {f"{_OPTIMISER}{index}.{name}": value for name, value in entry.items()}
        tensors[_GENERATOR] = self.generator.get_state()
        save_tensors(path, tensors, kind=kind, metadata={"step": str(self.step), "run": run})

    def load(self, path: Path, *, kind: str, run: str) -> None:
        """Continue from a file of `save`. Raises ``ValueError`` for another run's."""
        tensors, metadata = load_tensors(path, kind=kind)
        if metadata["run"] != run:
            raise ValueError(
                f"{path}: belongs to a run with other data or parameters; delete it to start again"
            )
        self.module.load_state_dict(_below(tensors, _MODEL))
        self._averaged = _below(tensors, _AVERAGE)
        state: dict[int, dict[str, Tensor]] = {}
        for name, value in _below(tensors, _OPTIMISER).items():
            index, entry = name.split(".", 1)
            state.setdefault(int(index), {})[entry] = value
        self.optimiser.load_state_dict({**self.optimiser.state_dict(), "state": state})
        self.generator.set_state(tensors[_GENERATOR])
        self.step = int(metadata["step"])


def _below(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
