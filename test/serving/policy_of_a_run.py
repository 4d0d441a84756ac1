"""The folder of a run with a VLA of random weights and an actor that has learned nothing yet, made in no time."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

from tiny_vla import JOINTS, TASK, write_tiny_vla

from rlt_ros.learning.checkpoint import save_learner
from rlt_ros.rlt.config import RLTConfig, Shapes
from rlt_ros.rlt.learner import Learner

RLT = RLTConfig(chunk=10, hidden=(16,), compute="float32")


def write_run(folder: Path) -> Path:
    """Write what `rlt-ros serve` reads of a run."""
    weights = folder / "weights"
    frozen = write_tiny_vla(weights)
    learner = Learner(RLT, Shapes(frozen.z_dim, 2 * JOINTS, RLT.chunk, JOINTS), seed=3)
    save_learner(folder / "learner.safetensors", learner, lineage=frozen.lineage)
    config = {"task": TASK, "seed": 0, "vla": str(weights), "rlt": dataclasses.asdict(RLT)}
    (folder / "config.json").write_text(json.dumps(config))
    return folder
