"""Training of the built-in VLA: reproducible, resumable, and what its losses touch."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import pytest
import torch

from rlt_ros.experiments.vla_training import VLATrainer
from rlt_ros.rlt.training import Progress, cosine_rate
from rlt_ros.store.lineage import fingerprint
from rlt_ros.vla.builtin import VLAConfig, VLATrainingConfig

sys.path.append(str(Path(__file__).parents[1] / "vla"))
from synthetic import CAMERAS, demonstration, demonstrations

CONFIG = VLAConfig(width=16, layers=1, heads=2, stem_width=4, horizon=10, head_layers=1)
TRAINING = VLATrainingConfig(steps=6, batch=8, warmup=2, checkpoint_every=2, compute="float32")


def trainer(**changes: object) -> VLATrainer:
    return VLATrainer(demonstrations(2), CAMERAS, CONFIG, dataclasses.replace(TRAINING, **changes))


def weights(one: VLATrainer) -> str:
    return fingerprint(one.state.averaged)


def test_the_same_seed_gives_the_same_weights_and_another_does_not() -> None:
    prints = []
    for seed in (0, 0, 1):
        one = trainer(seed=seed)
        one.run()
        prints.append(one.vla.fingerprint)
    assert prints[0] == prints[1] != prints[2]


def stop_at(step: int) -> Progress:
    def stop(done: int, _: object) -> None:
        if done == step:
            raise KeyboardInterrupt

    return stop


def test_a_run_stopped_between_checkpoints_ends_exactly_like_an_uninterrupted_one(tmp_path: Path) -> None:
    whole = trainer(steps=50)
    whole.run()
    checkpoint = tmp_path / "checkpoint.safetensors"
    first = trainer(steps=50, checkpoint_every=15)
    assert not first.resume(checkpoint)
    with pytest.raises(KeyboardInterrupt):
        first.run(checkpoint=checkpoint, progress=stop_at(40))
    second = trainer(steps=50, checkpoint_every=15)
    assert second.resume(checkpoint) and second.state.step == 30
    second.run(checkpoint=checkpoint)
    assert weights(second) == weights(whole)


def test_a_checkpoint_of_other_data_or_parameters_is_refused(tmp_path: Path) -> None:
    checkpoint = tmp_path / "checkpoint.safetensors"
    trainer().save(checkpoint)
    with pytest.raises(ValueError, match="other data or parameters"):
        trainer(batch=9).resume(checkpoint)


def test_failed_demonstrations_teach_motion_but_no_goal() -> None:
    failed = [dataclasses.replace(demonstration("left", seed), success=False) for seed in range(2)]
    one = VLATrainer(failed, CAMERAS, CONFIG, TRAINING)
    losses = one.forward(torch.arange(8), torch.Generator().manual_seed(0)).losses
    assert losses["goal"].item() == 0 and losses["flow"].item() > 0


def test_the_learning_rate_warms_up_and_falls_to_its_floor() -> None:
    rates = [cosine_rate(step, peak=1.0, warmup=10, steps=100) for step in range(101)]
    assert rates[0] == 0.1 and rates[10] == 1.0 and abs(rates[100] - 0.02) < 1e-9
    assert rates[10:] == sorted(rates[10:], reverse=True)
