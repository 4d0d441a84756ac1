"""``rlt-ros bench actor``: latency of one decision, from three camera images to an action chunk.

A decision is one pass of the built-in VLA, the RL token, and the actor, for a single observation on one core; its
weights are random, without effect on the time. The actor is also measured alone at the paper's sizes.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from rlt_ros.learning.checkpoint import export_actor, import_actor
from rlt_ros.rlt.config import RLTConfig, Shapes
from rlt_ros.rlt.learner import Learner
from rlt_ros.rlt.networks import Actor
from rlt_ros.rlt.token import TokenConfig, TokenEncoder
from rlt_ros.store.lineage import Lineage
from rlt_ros.vla.builtin.config import VLAConfig
from rlt_ros.vla.builtin.policy import Blueprint, BuiltinVLA, Network
from rlt_ros.vla.builtin.statistics import Statistics
from rlt_ros.vla.builtin.text import Vocabulary
from rlt_ros.vla.protocol import ObservationBatch

CAMERAS = ("head", "hand_left", "hand_right")
IMAGE_SIZE = (64, 64)
JOINTS = 7
PAPER = Shapes(z_dim=2048, proprio_dim=14, chunk=10, action_dim=14)
INSTRUCTION = "plug the charger into the power strip"
HZ = 50


def run(repeats: int = 100, threads: int = 1) -> dict[str, Any]:
    """Measure the latency of the whole decision and of its parts.

    Args:
        repeats: measured decisions, after ten to warm up.
        threads: threads for all parts.

    Returns:
        ``decision_ms``, its parts ``vla_ms``, ``token_ms``, ``actor_ms``, and ``paper_size_actor_ms``, each with
        ``median`` and ``p99``; ``control_steps``: 50 Hz steps during a median decision.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        figures: dict[str, Any] = _measure(repeats)
    finally:
        torch.set_num_threads(before)
    figures["control_steps"] = figures["decision_ms"]["median"] / 1000 * HZ
    return {**figures, "threads": threads}


def _measure(repeats: int) -> dict[str, Any]:
    random = torch.Generator().manual_seed(0)
    vla, token = _vla(), TokenConfig()
    spec = vla.spec
    encoder = TokenEncoder(
        embed_dim=spec.embed_dim,
        tokens=spec.tokens,
        z_dim=token.z_dim,
        vla=vla.fingerprint,
        width=token.width,
        layers=token.layers,
        heads=token.heads,
    ).requires_grad_(False)
    actor = _actor(Shapes(token.z_dim, spec.proprio_dim, RLTConfig().chunk, spec.action_dim))
    pictures = {
        camera: torch.randint(256, (1, *IMAGE_SIZE, 3), dtype=torch.uint8, generator=random)
        for camera in CAMERAS
    }
    observation = ObservationBatch(
        pictures, torch.randn(1, spec.proprio_dim, generator=random), [INSTRUCTION]
    )
    output = vla.act(observation, generator=random)
    z, reference = encoder(output.embeddings, output.mask), output.chunk[:, : actor.shapes.chunk]

    def decide() -> None:
        decided = vla.act(observation, generator=random)
        token = encoder(decided.embeddings, decided.mask)
        actor.act(
            token, observation.proprio, decided.chunk[:, : actor.shapes.chunk], sigma=0.1, generator=random
        )

    paper = _actor(PAPER)
    state = torch.randn(1, PAPER.z_dim), torch.randn(1, PAPER.proprio_dim)
    chunk = torch.randn(1, PAPER.chunk, PAPER.action_dim)
    return {
        "decision_ms": _latency(decide, repeats),
        "vla_ms": _latency(lambda: vla.act(observation, generator=random), repeats),
        "token_ms": _latency(lambda: encoder(output.embeddings, output.mask), repeats),
        "actor_ms": _latency(lambda: actor.act(z, observation.proprio, reference), repeats),
        "paper_size_actor_ms": _latency(lambda: paper.act(*state, chunk), repeats),
    }


def _vla() -> BuiltinVLA:
    """Built-in VLA with its default sizes and random weights."""
    config = VLAConfig()
    blueprint = Blueprint.of(
        config,
        cameras=CAMERAS,
        image_size=IMAGE_SIZE,
        action_dim=JOINTS,
        vocabulary=Vocabulary.of([INSTRUCTION]),
    )
    random = np.random.default_rng(0)
    statistics = Statistics.of(
        random.standard_normal((100, config.horizon, JOINTS)),
        random.standard_normal((100, 2 * JOINTS)),
        chunk=10,
    )
    return BuiltinVLA(blueprint, statistics, Network(blueprint).state_dict())


def _actor(shapes: Shapes) -> Actor:
    """Actor exported by a learner and imported, as in inference."""
    lineage = Lineage()
    return import_actor(
        export_actor(Learner(RLTConfig(), shapes), lineage=lineage), shapes=shapes, lineage=lineage
    ).actor


def _latency(call: Callable[[], object], repeats: int) -> dict[str, float]:
    spent = []
    for _ in range(repeats + 10):
        start = time.perf_counter()
        call()
        spent.append((time.perf_counter() - start) * 1000)
    return {"median": float(np.median(spent[10:])), "p99": float(np.percentile(spent[10:], 99))}
