"""A weights folder with a VLA of random weights for the seven joints of the G1's right arm: loaded in no time."""

from __future__ import annotations

import json
from pathlib import Path

import torch

from rlt_ros.rlt.token_readouts import MeanPool
from rlt_ros.vla import ObservationBatch
from rlt_ros.vla.builtin.config import VLAConfig
from rlt_ros.vla.builtin.policy import Blueprint, BuiltinVLA, Network
from rlt_ros.vla.builtin.statistics import Statistics
from rlt_ros.vla.builtin.text import Vocabulary
from rlt_ros.vla.frozen import FrozenVLA
from rlt_ros.vla.loading import load_frozen
from rlt_ros.vla.weights import INDEX, VLA_FILE, checksum, token_file

TASK, INSTRUCTION = "charger", "plug the charger in"
CAMERAS, SIDE, JOINTS, HORIZON = ("head", "hand_left", "hand_right"), 16, 7, 20
CONFIG = VLAConfig(
    width=16, layers=1, heads=2, stem_width=4, horizon=HORIZON, head_layers=1, steps_per_token=5, flow_steps=2
)


def write_tiny_vla(folder: Path, *, seed: int = 0) -> FrozenVLA:
    """Write the folder, and return what a node makes of it."""
    torch.manual_seed(seed)
    blueprint = Blueprint.of(
        CONFIG,
        cameras=CAMERAS,
        image_size=(SIDE, SIDE),
        action_dim=JOINTS,
        vocabulary=Vocabulary.of([INSTRUCTION]),
    )
    statistics = Statistics(
        action_scale=torch.linspace(0.01, 0.04, JOINTS),
        chunk_mean=torch.zeros(HORIZON, JOINTS),
        chunk_std=torch.ones(HORIZON, JOINTS),
        proprio_mean=torch.zeros(2 * JOINTS),
        proprio_std=torch.ones(2 * JOINTS),
    )
    vla = BuiltinVLA(blueprint, statistics, Network(blueprint).state_dict())
    token = MeanPool(embed_dim=vla.spec.embed_dim, tokens=vla.spec.tokens, vla=vla.fingerprint)
    token.freeze()
    folder.mkdir(parents=True, exist_ok=True)
    vla.save(folder / VLA_FILE)
    token.save(folder / token_file(TASK))
    files = {name: checksum(folder / name) for name in (VLA_FILE, token_file(TASK))}
    (folder / INDEX).write_text(json.dumps({"files": files}))
    return load_frozen(str(folder), TASK)


def tiny_observations(count: int = 1) -> ObservationBatch:
    """Observations of that VLA, without content."""
    random = torch.Generator().manual_seed(0)
    images = {
        camera: torch.randint(256, (count, SIDE, SIDE, 3), dtype=torch.uint8, generator=random)
        for camera in CAMERAS
    }
    position = torch.randn(count, JOINTS, generator=random)
    return ObservationBatch(images, torch.cat([position, 0 * position], dim=1), [INSTRUCTION] * count)
