"""A small VLA trained on the toy task in some seconds."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from synthetic import CAMERAS, demonstrations

from rlt_ros.data.frames import Frames, split
from rlt_ros.experiments.vla_training import VLATrainer
from rlt_ros.vla.builtin import BuiltinVLA, VLAConfig, VLATrainingConfig

CONFIG = VLAConfig(width=48, layers=2, heads=2, stem_width=8, horizon=20, head_layers=1)
TRAINING = VLATrainingConfig(
    steps=250, batch=32, learning_rate=2e-3, warmup=20, ema=0.97, proprio_dropout=0.2, compute="float32"
)


@dataclass(frozen=True)
class Trained:
    """A trained VLA and the episodes that it has and has not seen."""

    vla: BuiltinVLA
    seen: Frames
    unseen: Frames


def train() -> Trained:
    """A VLA that has imitated some hundred short demonstrations: too many to know each by its colours."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    seen, unseen = split(demonstrations(150, steps=16), 8)
    trainer = VLATrainer(seen, CAMERAS, CONFIG, TRAINING)
    trainer.run()
    torch.set_num_threads(threads)
    return Trained(trainer.vla, Frames(seen, CAMERAS), Frames(unseen, CAMERAS))
