"""A small learner and random batches for its tests."""

from __future__ import annotations

import dataclasses

import torch

from rlt_ros.rlt.batch import FIELDS, Batch
from rlt_ros.rlt.config import RLTConfig, Shapes
from rlt_ros.rlt.learner import Learner
from rlt_ros.store.lineage import Lineage

SHAPES = Shapes(z_dim=12, proprio_dim=4, chunk=4, action_dim=2)
CONFIG = RLTConfig(
    chunk=4,
    hidden=(32, 32),
    batch_size=16,
    warmup_updates=0,
    compute="float32",
    beta_opening=1.0,
    return_low=-1e9,
    return_high=1e9,
)
LINEAGE = Lineage("vla", "token", "stats")


def make_batch(rows: int, shapes: Shapes = SHAPES, seed: int = 0, **fields: torch.Tensor) -> Batch:
    random = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(rows, *shape, generator=random)

    chunk = (shapes.chunk, shapes.action_dim)
    values = {
        "z": normal(shapes.z_dim),
        "proprio": normal(shapes.proprio_dim),
        "reference": normal(*chunk),
        "action": normal(*chunk),
        "reward": normal(),
        "discount": torch.full((rows,), 0.9),
        "next_z": normal(shapes.z_dim),
        "next_proprio": normal(shapes.proprio_dim),
        "next_reference": normal(*chunk),
        "valid": torch.full((rows,), shapes.chunk),
        "next_valid": torch.full((rows,), shapes.chunk),
        "terminated": torch.zeros(rows, dtype=torch.bool),
        "truncated": torch.zeros(rows, dtype=torch.bool),
        "human": torch.zeros(rows, shapes.chunk, dtype=torch.bool),
    }
    return Batch(**{**values, **fields})


def take(batch: Batch, rows: torch.Tensor) -> Batch:
    return Batch(*(getattr(batch, name)[rows] for name in FIELDS))


def make_learner(config: RLTConfig = CONFIG, **changes: object) -> Learner:
    return Learner(dataclasses.replace(config, **changes), SHAPES)  # type: ignore[arg-type]
