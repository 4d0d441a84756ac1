"""Stage 1 as a run: cached and learning VLAs, resume, and what the gradients of each loss touch."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import pytest
import torch

from rlt_ros.experiments.token_training import CachedEmbeddings, LearningVLA, TokenTrainer, encode_all
from rlt_ros.experiments.vla_training import VLATrainer
from rlt_ros.rlt.token import TokenConfig
from rlt_ros.rlt.token_diagnostics import pairwise_cosine
from rlt_ros.vla.builtin import VLAConfig, VLATrainingConfig

sys.path.append(str(Path(__file__).parents[1] / "vla"))
from synthetic import CAMERAS, demonstrations

VLA = VLAConfig(width=16, layers=1, heads=2, stem_width=4, horizon=10, head_layers=1)
TRAINING = VLATrainingConfig(steps=1, batch=8, compute="float32")
TOKEN = TokenConfig(
    z_dim=8, width=16, layers=1, heads=2, steps=6, batch=8, warmup=2, checkpoint_every=2, compute="float32"
)


def vla_trainer() -> VLATrainer:
    return VLATrainer(demonstrations(2), CAMERAS, VLA, TRAINING)


@pytest.fixture
def cached(tmp_path: Path) -> CachedEmbeddings:
    trainer = vla_trainer()
    return CachedEmbeddings(trainer.vla, trainer.frames, tmp_path / "cache")


def test_the_cache_holds_the_embeddings_of_every_frame_in_order(tmp_path: Path) -> None:
    trainer = vla_trainer()
    vla, frames = trainer.vla, trainer.frames
    done: list[int] = []
    source = CachedEmbeddings(vla, frames, tmp_path / "cache", done.append)
    expected, _ = vla.embed(frames.observations(torch.arange(len(frames))))
    got = torch.cat([embeddings for embeddings, _ in source.sweep()])
    assert sum(done) == len(frames) == len(got)
    assert torch.allclose(got, expected, atol=2e-3)


def test_a_finished_cache_is_reused_and_that_of_another_vla_is_not(tmp_path: Path) -> None:
    trainer = vla_trainer()
    calls: list[int] = []
    CachedEmbeddings(trainer.vla, trainer.frames, tmp_path / "cache")
    CachedEmbeddings(trainer.vla, trainer.frames, tmp_path / "cache", calls.append)
    assert not calls
    trainer.update()
    CachedEmbeddings(trainer.vla, trainer.frames, tmp_path / "cache", calls.append)
    assert sum(calls) == len(trainer.frames)


def test_a_run_stopped_between_checkpoints_ends_exactly_like_an_uninterrupted_one(
    cached: CachedEmbeddings, tmp_path: Path
) -> None:
    config = dataclasses.replace(TOKEN, steps=50, checkpoint_every=15)
    whole = TokenTrainer(config, cached)
    whole.run()
    checkpoint = tmp_path / "checkpoint.safetensors"

    def stop(step: int, _: object) -> None:
        if step == 40:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        TokenTrainer(config, cached).run(checkpoint=checkpoint, progress=stop)
    second = TokenTrainer(config, cached)
    assert second.resume(checkpoint) and second.state.step == 30
    second.run(checkpoint=checkpoint)
    assert second.finish().encoder.fingerprint == whole.finish().encoder.fingerprint


def test_a_checkpoint_of_other_parameters_is_refused(cached: CachedEmbeddings, tmp_path: Path) -> None:
    checkpoint = tmp_path / "checkpoint.safetensors"
    TokenTrainer(TOKEN, cached).save(checkpoint)
    with pytest.raises(ValueError, match="other data or parameters"):
        TokenTrainer(dataclasses.replace(TOKEN, context_dropout=0.5), cached).resume(checkpoint)


def test_the_finished_token_is_frozen_normalised_and_names_its_vla(cached: CachedEmbeddings) -> None:
    trainer = TokenTrainer(TOKEN, cached)
    trainer.run()
    encoder = trainer.finish().encoder
    z = encode_all(encoder, list(cached.sweep()))
    assert encoder.vla == cached.vla.fingerprint
    assert not any(parameter.requires_grad for parameter in encoder.parameters())
    assert z.mean(dim=0).abs().max() < 1e-2 and abs(pairwise_cosine(z)) < 0.05


def test_with_a_vla_weight_the_vla_learns_from_its_own_loss_alone() -> None:
    trainer = vla_trainer()
    twin = vla_trainer()
    source = LearningVLA(trainer)
    token = TokenTrainer(dataclasses.replace(TOKEN, vla_weight=0.5), source)
    drawn = source.draw(8, torch.Generator().manual_seed(3))
    assert drawn.vla_loss is not None
    total = (
        token.stage.token.loss(drawn.embeddings, drawn.mask, context_dropout=0.5, generator=torch.Generator())
        + 0.5 * drawn.vla_loss
    )
    total.backward()
    alone = LearningVLA(twin).draw(8, torch.Generator().manual_seed(3)).vla_loss
    assert alone is not None
    (0.5 * alone).backward()
    pairs = list(zip(trainer.network.parameters(), twin.network.parameters(), strict=True))
    assert all(torch.equal(a.grad, b.grad) for a, b in pairs if a.grad is not None and b.grad is not None)
    assert sum(a.grad is not None for a, _ in pairs) == sum(b.grad is not None for _, b in pairs) > 0


def test_joint_training_changes_the_vla_and_the_token_names_the_new_one() -> None:
    source = LearningVLA(vla_trainer())
    before = source.vla.fingerprint
    trainer = TokenTrainer(dataclasses.replace(TOKEN, vla_weight=1.0), source)
    losses = trainer.update()
    assert set(losses) == {"reconstruction", "vla", "total"}
    encoder = trainer.finish().encoder
    assert encoder.vla == source.vla.fingerprint != before


@pytest.mark.parametrize("weight", [0.0, 1.0])
def test_weight_and_source_must_agree(weight: float, cached: CachedEmbeddings) -> None:
    source = LearningVLA(vla_trainer()) if weight == 0 else cached
    with pytest.raises(ValueError, match="vla_weight"):
        TokenTrainer(dataclasses.replace(TOKEN, vla_weight=weight), source)
