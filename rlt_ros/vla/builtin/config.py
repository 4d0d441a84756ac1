"""Architecture and training settings of the built-in VLA. Values without another source were measured here."""

from __future__ import annotations

from dataclasses import dataclass

from rlt_ros.store.parameters import check, parameter

STEM_STRIDE = 16
"""Pixels per token and side: four convolutions of stride 2."""


@dataclass(frozen=True)
class VLAConfig:
    """Architecture of the built-in VLA."""

    width: int = parameter(128, help="width D of every token", low=16, high=1024)
    layers: int = parameter(
        3, help="transformer layers over image, text and proprioception tokens", low=1, high=24
    )
    heads: int = parameter(4, help="attention heads", low=1, high=32)
    stem_width: int = parameter(
        24, help="channels after the first convolution; later ones have 2, 4 times as many", low=4, high=256
    )
    horizon: int = parameter(
        50, help="control steps of a proposed chunk, H", low=1, high=500, source="RLT, H = 50"
    )
    head_layers: int = parameter(2, help="layers of the flow-matching action head", low=1, high=12)
    steps_per_token: int = parameter(
        5, help="control steps that share a token of the action head; divides the horizon", low=1, high=50
    )
    flow_steps: int = parameter(5, help="Euler steps from noise to chunk", low=1, high=50)

    def __post_init__(self) -> None:
        """Check every value; some sizes must divide others."""
        check(self)
        if self.width % self.heads:
            raise ValueError(f"width {self.width} must be a multiple of heads {self.heads}")
        if self.horizon % self.steps_per_token:
            raise ValueError(
                f"horizon {self.horizon} must be a multiple of steps_per_token {self.steps_per_token}"
            )


@dataclass(frozen=True)
class VLATrainingConfig:
    """Imitation of demonstrations by the built-in VLA."""

    steps: int = parameter(1600, help="optimiser steps", low=1)
    batch: int = parameter(96, help="observations per step", low=1)
    learning_rate: float = parameter(
        1e-3, help="peak learning rate of AdamW, cosine decay to 2 %", low=1e-7, high=1.0
    )
    warmup: int = parameter(200, help="steps of linear warm-up", low=0)
    weight_decay: float = parameter(0.02, help="AdamW weight decay of matrices", low=0.0, high=1.0)
    gradient_clip: float = parameter(1.0, help="largest gradient norm", low=1e-6)
    ema: float = parameter(
        0.998, help="decay of the averaged weights, which are saved", low=0.0, high=0.99999
    )
    flow_samples: int = parameter(
        4,
        help="noise levels per observation; they share one pass of the prefix",
        low=1,
        high=64,
    )
    goal_weight: float = parameter(
        1.0,
        help="weight of predicting the joint displacement to the end of the demonstration",
        low=0.0,
    )
    proprio_dropout: float = parameter(
        0.3,
        help="share of observations without proprioception, which forces the use of images",
        low=0.0,
        high=1.0,
    )
    proprio_noise: float = parameter(0.1, help="noise on proprioception, in its standard deviations", low=0.0)
    word_dropout: float = parameter(
        0.1, help="share of words replaced by the unknown word", low=0.0, high=1.0
    )
    photometric: float = parameter(
        0.25,
        help="spread of random colour mixtures and offsets; without shifts, since position is the signal",
        low=0.0,
        high=1.0,
    )
    compute: str = parameter(
        "auto",
        help="type of the matrix products in training; weights stay float32. `auto` takes bfloat16 if the processor "
        "multiplies it faster: on others it is twelve times as slow",
        choices=("auto", "float32", "bfloat16"),
    )
    checkpoint_every: int = parameter(100, help="steps between resumable checkpoints", low=1)
    chunk: int = parameter(
        10,
        help="step whose displacement sets the action scale: the RL chunk length C",
        low=1,
        source="RLT, C = 10",
    )
    seed: int = parameter(0, help="seed of initial weights, batches and noise", low=0)

    def __post_init__(self) -> None:
        """Check every value."""
        check(self)
