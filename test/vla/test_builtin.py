"""Trained built-in VLA: accuracy, determinism, files."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from synthetic import INSTRUCTIONS
from toy_vla import Trained

from rlt_ros.data.frames import Frames
from rlt_ros.rlt.token_diagnostics import linear_probe
from rlt_ros.store.storage import ChecksumError, StorageError, WrongKindError, save_tensors
from rlt_ros.vla import VLA, ObservationBatch, ObservationError
from rlt_ros.vla.builtin import BuiltinVLA, InstructionError
from rlt_ros.vla.builtin.policy import Network


def first(frames: Frames, count: int = 5) -> ObservationBatch:
    return frames.observations(torch.arange(count))


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_it_implements_the_protocol_with_the_promised_shapes(trained: Trained) -> None:
    vla, spec = trained.vla, trained.vla.spec
    out = vla.act(first(trained.seen), generator=generator())
    assert isinstance(vla, VLA)
    assert out.embeddings.shape == (5, spec.tokens, spec.embed_dim) == (5, 8, 48)
    assert out.mask.shape == (5, spec.tokens) and bool(out.mask.all())
    assert out.chunk.shape == (5, spec.horizon, spec.action_dim)
    assert vla.action_scale.shape == (spec.action_dim,)


def test_chunks_on_unseen_episodes_explain_most_of_the_motion(trained: Trained) -> None:
    rows = torch.arange(len(trained.unseen))
    chunk = trained.vla.act(trained.unseen.observations(rows), generator=generator()).chunk
    wanted = trained.unseen.displacements(rows, trained.vla.spec.horizon) / trained.vla.action_scale
    unexplained = (chunk - wanted).square().mean() / wanted.square().mean()
    assert unexplained < 0.25


def test_the_instruction_alone_chooses_the_side(trained: Trained) -> None:
    rows = torch.arange(len(trained.unseen))
    batch = trained.unseen.observations(rows)
    ends = {
        side: trained.vla.act(
            dataclasses.replace(batch, instructions=[text] * len(rows)), generator=generator()
        )
        for side, text in INSTRUCTIONS.items()
    }
    apart = (ends["right"].chunk - ends["left"].chunk)[:, -1, 0] * trained.vla.action_scale[0]
    # The sides are 0.24 rad apart; a chunk covers most of the way.
    assert 0.08 < float(apart.mean()) < 0.24


def probe_error(vla: BuiltinVLA, trained: Trained) -> float:
    """Largest error of a linear read-out of the target, as a share of its spread."""
    features, truths = [], []
    for frames in (trained.seen, trained.unseen):
        rows = torch.arange(len(frames))
        embeddings, _ = vla.embed(frames.observations(rows))
        features.append(embeddings.mean(dim=1))
        truths.append(frames.privileged(rows))
    error = linear_probe((features[0], truths[0]), (features[1], truths[1]))
    return float((error / truths[1].std(dim=0)).max())


def test_training_makes_the_embeddings_carry_the_target(trained: Trained) -> None:
    torch.manual_seed(0)
    untrained = BuiltinVLA(
        trained.vla.blueprint, trained.vla.statistics, Network(trained.vla.blueprint).state_dict()
    )
    assert probe_error(trained.vla, trained) < 0.35 < 0.7 * probe_error(untrained, trained)


def test_the_embedding_path_returns_what_act_returns(trained: Trained) -> None:
    batch = first(trained.seen)
    embeddings, mask = trained.vla.embed(batch)
    out = trained.vla.act(batch, generator=generator())
    assert torch.equal(embeddings, out.embeddings) and torch.equal(mask, out.mask)


def test_the_same_generator_state_gives_the_same_chunk_and_another_a_different_one(trained: Trained) -> None:
    batch = first(trained.seen)
    a, b, c = (trained.vla.act(batch, generator=generator(seed)).chunk for seed in (1, 1, 2))
    assert torch.equal(a, b) and not torch.allclose(a, c, atol=1e-3)


def test_an_observation_gets_the_same_embeddings_alone_and_in_a_batch(trained: Trained) -> None:
    batch = first(trained.seen)
    alone = ObservationBatch(
        {camera: image[2:3] for camera, image in batch.images.items()},
        batch.proprio[2:3],
        batch.instructions[2:3],
    )
    assert torch.allclose(trained.vla.embed(batch)[0][2], trained.vla.embed(alone)[0][0], atol=1e-4)


def test_saving_and_loading_changes_neither_output_nor_fingerprint(trained: Trained, tmp_path: Path) -> None:
    trained.vla.save(tmp_path / "vla.safetensors")
    loaded = BuiltinVLA.load(tmp_path / "vla.safetensors")
    batch = first(trained.seen)
    assert loaded.fingerprint == trained.vla.fingerprint and loaded.spec == trained.vla.spec
    before, after = (vla.act(batch, generator=generator()) for vla in (trained.vla, loaded))
    assert torch.equal(before.chunk, after.chunk) and torch.equal(before.embeddings, after.embeddings)


def test_other_weights_or_statistics_have_another_fingerprint(trained: Trained) -> None:
    vla = trained.vla
    weights = vla.network.state_dict()
    changed = dict(weights) | {"goal.bias": weights["goal.bias"] + 1}
    statistics = dataclasses.replace(vla.statistics, action_scale=vla.action_scale * 2)
    prints = {
        BuiltinVLA(vla.blueprint, vla.statistics, weights).fingerprint,
        BuiltinVLA(vla.blueprint, vla.statistics, changed).fingerprint,
        BuiltinVLA(vla.blueprint, statistics, weights).fingerprint,
    }
    assert len(prints) == 3 and vla.fingerprint in prints


def test_bad_observations_are_refused_by_act_and_embed(trained: Trained) -> None:
    batch = first(trained.seen)
    blind = dataclasses.replace(batch, images={"head": batch.images["head"]})
    lost = dataclasses.replace(batch, proprio=batch.proprio * np.nan)
    with pytest.raises(ObservationError, match="hand_right"):
        trained.vla.act(blind, generator=generator())
    with pytest.raises(ObservationError, match="not finite"):
        trained.vla.embed(lost)
    with pytest.raises(InstructionError, match="square"):
        trained.vla.embed(dataclasses.replace(batch, instructions=["bake bread"] * 5))


def test_a_damaged_or_foreign_file_is_refused(trained: Trained, tmp_path: Path) -> None:
    path = tmp_path / "vla.safetensors"
    trained.vla.save(path)
    whole = path.read_bytes()
    path.write_bytes(whole[:-100])
    with pytest.raises(StorageError, match=r"vla\.safetensors"):
        BuiltinVLA.load(path)
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(ChecksumError, match=r"vla\.safetensors"):
        BuiltinVLA.load(path)
    save_tensors(path, {"w": torch.zeros(1)}, kind="actor", metadata={})
    with pytest.raises(WrongKindError, match="actor"):
        BuiltinVLA.load(path)
