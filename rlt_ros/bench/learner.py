"""``rlt-ros bench learner``: critic updates per second at the paper's size, next to updates of other libraries.

All contenders run in turn in one process on one core, so other load on the machine affects all of them equally; the
figures are medians over the turns. The measured time of each contender includes sampling from a replay.
"""

from __future__ import annotations

import contextlib
import dataclasses
import statistics
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rlt_ros.bench import peers
from rlt_ros.replay.ring import Replay
from rlt_ros.rlt.config import RLTConfig, Shapes
from rlt_ros.rlt.learner import Learner
from rlt_ros.rlt.networks import product_dtype
from rlt_ros.rlt.transition import FloatArray, RLState, RowOutcome, Source, Window, lineage_id
from rlt_ros.store.lineage import Lineage

PAPER = Shapes(z_dim=2048, proprio_dim=14, chunk=10, action_dim=14)
ROWS = 20_000
TURN = 4
"""Updates of one contender per turn: enough to fill the caches with its data, as in real use."""

Product = tuple[int, int, int]
"""Rows, inner size and columns of one matrix product."""


def run(rounds: int = 12, threads: int = 1) -> dict[str, Any]:
    """Measure the learner in float32 and in reduced precision, its peers, and the bare matrix products.

    Args:
        rounds: turns of each contender; the first is not counted.
        threads: for each contender.

    Returns:
        ``updates_per_s`` of the configured default; ``peers``: updates per second by name; ``ratio_fastest_peer``: the
        float32 learner over the fastest peer; ``reduced_precision``: the bfloat16 learner's ``updates_per_s``,
        ``ratio_fastest_peer``, ``gemm_share`` and whether it is the ``default`` here; ``gemm_share``: matrix products'
        share of the float32 learner's time; sizes and ``milliseconds``.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        milliseconds = _measure(rounds)
    finally:
        torch.set_num_threads(before)
    rate = {name: 1000 / value for name, value in milliseconds.items()}
    peer_rates = {name: rate[name] for name in ("torchrl", "stable_baselines3")}
    fastest = max(peer_rates.values())
    default = product_dtype("auto", torch.device("cpu")) is torch.bfloat16
    return {
        "updates_per_s": rate["bfloat16" if default else "float32"],
        "peers": peer_rates,
        "ratio_fastest_peer": rate["float32"] / fastest,
        "reduced_precision": {
            "type": "bfloat16",
            "updates_per_s": rate["bfloat16"],
            "ratio_fastest_peer": rate["bfloat16"] / fastest,
            "gemm_share": milliseconds["products_bfloat16"] / milliseconds["bfloat16"],
            "default": default,
        },
        "gemm_share": milliseconds["products_float32"] / milliseconds["float32"],
        "milliseconds": milliseconds,
        "sizes": {**dataclasses.asdict(PAPER), "hidden": [256, 256], "batch": 256, "replay_rows": ROWS},
        "threads": threads,
    }


def _measure(rounds: int) -> dict[str, float]:
    """Median processor milliseconds of one critic update, with its share of the actor update, by contender."""
    config = RLTConfig(hidden=(256, 256), batch_size=256, critic_updates=2, warmup_updates=0)
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:

        def learner(compute: str, stored: str) -> peers.Update:
            replay = stack.enter_context(_filled_replay(Path(folder) / compute, config, stored))
            return _learner(dataclasses.replace(config, compute=compute), replay)

        contenders = {
            "stable_baselines3": peers.stable_baselines3_td3(config, PAPER, ROWS),
            "torchrl": peers.torchrl_td3(config, PAPER, ROWS),
            "float32": learner("float32", "float32"),
            "bfloat16": learner("bfloat16", config.z_storage),
            "products_float32": _products(config, torch.float32),
            "products_bfloat16": _products(config, torch.bfloat16),
        }
        spent: dict[str, list[float]] = {name: [] for name in contenders}
        for _ in range(rounds):
            for name, update in contenders.items():
                start = time.process_time()
                for _ in range(TURN):
                    update()
                spent[name].append((time.process_time() - start) / (TURN * config.critic_updates) * 1000)
    return {name: statistics.median(values[1:]) for name, values in spent.items()}


def _learner(config: RLTConfig, replay: Replay) -> peers.Update:
    learner = Learner(config, PAPER)
    learner.fit_scale(replay.sample(2000, learner.sampling))

    def update() -> None:
        learner.update(replay.sample(learner.rows_per_update, learner.sampling))

    return update


def _filled_replay(path: Path, config: RLTConfig, stored: str) -> Replay:
    """Replay of random windows in the learner's value ranges; the speed does not depend on their meaning."""
    random = np.random.default_rng(0)
    replay = Replay.open(path, PAPER, ROWS, gamma=config.gamma, lineage=Lineage(), z_storage=stored)
    ahead, block = PAPER.chunk // config.stride, 1000
    for episode in range(ROWS // block):
        states = [_state(random, step) for step in range(block + ahead)]
        replay.append(_window(random, config, episode, states[i], states[i + ahead]) for i in range(block))
    return replay


def _state(random: np.random.Generator, index: int) -> RLState:
    def normal(*shape: int) -> FloatArray:
        return random.standard_normal(shape, dtype=np.float32)

    return RLState(
        step=2 * index,
        z=normal(PAPER.z_dim),
        proprio=normal(PAPER.proprio_dim),
        reference=normal(PAPER.chunk, PAPER.action_dim),
        anchor=normal(PAPER.action_dim),
    )


def _window(
    random: np.random.Generator, config: RLTConfig, episode: int, now: RLState, then: RLState
) -> Window:
    return Window(
        episode=episode,
        step=now.step,
        z=now.z,
        proprio=now.proprio,
        reference=now.reference,
        action=now.reference + config.sigma * random.standard_normal(now.reference.shape, dtype=np.float32),
        reward=0.0,
        discount=config.gamma**PAPER.chunk,
        next_z=then.z,
        next_proprio=then.proprio,
        next_reference=then.reference,
        valid=PAPER.chunk,
        next_valid=PAPER.chunk,
        terminated=False,
        truncated=False,
        outcome=RowOutcome.NONE,
        source=np.full(PAPER.chunk, Source.ACTOR, dtype=np.uint8),
        lineage=lineage_id(Lineage()),
    )


def _products(config: RLTConfig, dtype: torch.dtype) -> peers.Update:
    """Matrix products of one update alone: a lower bound of its time."""
    operands = [
        (torch.randn(rows, inner).to(dtype), torch.randn(inner, columns).to(dtype))
        for rows, inner, columns in _shapes_of_products(config)
    ]

    def multiply() -> None:
        for left, right in operands:
            torch.mm(left, right)

    return multiply


def _shapes_of_products(config: RLTConfig) -> Iterable[Product]:
    """Products of ``critic_updates`` critic steps and one actor step, by the token and the hidden layers.

    The narrow products of proprioception, actions and outputs are left out.
    """
    batch, steps, first = config.batch_size, config.critic_updates, config.hidden[0]
    inner = list(zip(config.hidden[:-1], config.hidden[1:], strict=True))
    token = PAPER.z_dim
    # Forward only: next action, target critics.
    yield from ((steps * batch, token, first), (steps * batch, token, 2 * first))
    yield from ((steps * batch, n, m) for n, m in inner for _ in range(3))
    # Critic steps: forward, gradient of the weights; the hidden layers' inputs have gradients too.
    yield from ((batch, token, 2 * first), (token, batch, 2 * first)) * steps
    for n, m in inner * 2 * steps:
        yield from ((batch, n, m), (n, batch, m), (batch, m, n))
    # Actor step: actor as above; critics without the token, forward, and back to the action alone.
    yield from ((batch, token, first), (token, batch, first))
    for n, m in inner:
        yield from ((batch, n, m), (n, batch, m), (batch, m, n))
        yield from ((batch, n, m), (batch, m, n)) * 2
