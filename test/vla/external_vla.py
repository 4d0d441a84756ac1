"""Stage 1 and the first online updates on any VLA, over demonstrations of the toy task."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from synthetic import INSTRUCTIONS, demonstration

from rlt_ros.data import Demonstration
from rlt_ros.data.frames import Frames
from rlt_ros.experiments.token_training import CachedEmbeddings, TokenTrainer
from rlt_ros.perception import Observation
from rlt_ros.replay.ring import Replay
from rlt_ros.rlt.config import RLTConfig, Shapes
from rlt_ros.rlt.learner import Learner
from rlt_ros.rlt.token import TokenConfig
from rlt_ros.rlt.transition import ExecutedStep, Source
from rlt_ros.rlt.windows import Window, WindowBuilder, lineage_id
from rlt_ros.robots.profile import DEFAULT_ROBOT
from rlt_ros.store.lineage import Lineage
from rlt_ros.vla.frozen import FrozenVLA
from rlt_ros.vla.loading import load_frozen, load_vla, token_path

TASK, SIDE, STEPS, STRIDE = "left", 16, 16, 2
TOKEN = TokenConfig(
    z_dim=8,
    width=16,
    layers=1,
    heads=2,
    steps=30,
    batch=8,
    warmup=2,
    learning_rate=3e-3,
    ema=0.9,
    compute="float32",
)
RLT = RLTConfig(
    chunk=4, stride=STRIDE, hidden=(16,), batch_size=8, critic_updates=1, warmup_updates=4, compute="float32"
)


@dataclass(frozen=True)
class Learned:
    """Losses of stage 1 at the beginning and the end, and of each online update."""

    reconstruction_before: float
    reconstruction_after: float
    updates: int
    losses: list[float]
    lineage: Lineage


def learn(vla: str, folder: Path, *, cameras: tuple[str, ...], joints: int) -> Learned:
    """Train a token, put it where it belongs, load the frozen half by name, and update actor and critics ten times."""
    folder.mkdir()
    demos = [
        demonstration(TASK, seed, steps=STEPS, size=SIDE, cameras=cameras, joints=joints) for seed in range(3)
    ]
    before, after = _train_token(vla, Frames(demos, cameras), folder)
    frozen = load_frozen(vla, TASK)
    shapes = Shapes(frozen.z_dim, 2 * joints, RLT.chunk, joints)
    learner = Learner(RLT, shapes)
    losses = []
    with Replay.open(folder / "replay", shapes, 64, gamma=RLT.gamma, lineage=frozen.lineage) as replay:
        for number, demo in enumerate(demos):
            replay.append(_windows(frozen, shapes, demo, number))
        learner.fit_scale(replay.sample(len(replay), learner.sampling))
        for _ in range(10):
            metrics = learner.update(replay.sample(learner.rows_per_update, learner.sampling))
            losses += [float(metrics["critic_loss"]), float(metrics["actor_loss"])]
    return Learned(before, after, learner.actor_steps, losses, frozen.lineage)


def _train_token(vla: str, frames: Frames, folder: Path) -> tuple[float, float]:
    trainer = TokenTrainer(TOKEN, CachedEmbeddings(load_vla(vla), frames, folder / "embeddings"))
    history = [float(trainer.update()["reconstruction"]) for _ in range(TOKEN.steps)]
    encoder = trainer.finish().encoder
    path = token_path(vla, TASK, DEFAULT_ROBOT)
    path.parent.mkdir(exist_ok=True)
    encoder.save(path)
    return float(np.mean(history[:5])), float(np.mean(history[-5:]))


def _windows(frozen: FrozenVLA, shapes: Shapes, demo: Demonstration, number: int) -> list[Window]:
    builder = WindowBuilder(
        shapes,
        frozen.action_space.encode,
        episode=number + 1,
        lineage=lineage_id(frozen.lineage),
        stride=STRIDE,
        gamma=RLT.gamma,
    )
    observations = [
        Observation(
            int(step),
            {camera: images[row] for camera, images in demo.images.items()},
            demo.position[step].astype(np.float64),
            demo.velocity[step].astype(np.float64),
        )
        for row, step in enumerate(demo.image_steps)
    ]
    steps = [int(step) for step in demo.image_steps]
    seen = frozen.encode(observations, INSTRUCTIONS[TASK], torch.Generator().manual_seed(number))
    states = {state.step: state for state in seen.states(steps, observations, RLT.chunk)}
    windows: list[Window] = []
    for step in range(demo.steps):
        if step in states:
            windows += builder.add_state(states[step])
        windows += builder.add_step(ExecutedStep(step, demo.command[step], Source.VLA))
    return windows + builder.finish(terminated=True, reward=1.0)
