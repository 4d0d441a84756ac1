"""Embeddings and chunks of lerobot's pi0 and pi0.5 equal those of the library's own pass."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_pi import (
    ACTION,
    KINDS,
    LAYERS,
    MEAN,
    NAMES,
    PER_IMAGE,
    SIDE,
    STD,
    WIDTH,
    small_sizes,
    why_not,
    write_tiny_pi,
)
from tiny_policy import ADAPTER, CAMERAS, CHUNK, JOINTS, assert_nearly_the_same, observations, with_adapter

from rlt_ros.store.parameters import ConfigError
from rlt_ros.vla import VLA, ObservationBatch
from rlt_ros.vla.backends.lerobot_policy import LeRobotVLA
from rlt_ros.vla.errors import VLALoadError
from rlt_ros.vla.loading import load_vla

pytestmark = pytest.mark.skipif(bool(why_not()), reason=why_not())


@pytest.fixture(scope="module", params=KINDS)
def kind(request: pytest.FixtureRequest) -> Iterator[str]:
    with small_sizes():
        yield request.param


@pytest.fixture(scope="module")
def checkpoint(kind: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_pi(kind, tmp_path_factory.mktemp(kind))


@pytest.fixture(scope="module")
def vla(checkpoint: Path) -> LeRobotVLA:
    loaded = load_vla(f"lerobot:{checkpoint}")
    assert isinstance(loaded, LeRobotVLA)
    return loaded


def _library_inputs(kind: str, batch: ObservationBatch, row: int) -> list[Any]:
    """Observation as from the library's processor, by its rules rather than ours."""
    from torch.nn.functional import interpolate

    pictures = [
        interpolate(
            batch.images[camera][row : row + 1].permute(0, 3, 1, 2).float() / 255,
            (SIDE, SIDE),
            mode="bilinear",
        )
        * 2
        - 1
        for camera in CAMERAS
    ]
    # The camera that the adapter does not name.
    pictures.append(-torch.ones(1, 3, SIDE, SIDE))
    there = [torch.ones(1, dtype=torch.bool)] * len(CAMERAS) + [torch.zeros(1, dtype=torch.bool)]
    state = (batch.proprio[row, :JOINTS] - MEAN) / STD
    words = batch.instructions[row].split()
    # Says the state in words: one of 256 steps between the percentiles, or -1 below them.
    if kind == "pi05":
        steps = torch.floor((state + 1) * 128).clamp(-1, 255).int().tolist()
        words = ["Task", *words, "State", *map(str, steps), "\n", "Action"]
    else:
        words = [*words, "\n"]
    ids = torch.tensor([[NAMES.index(word) for word in ("<bos>", *words)]])
    inputs = [pictures, there, ids, torch.ones_like(ids, dtype=torch.bool)]
    return inputs if kind == "pi05" else [*inputs, torch.nn.functional.pad(state, (0, 1))[None]]


def test_it_is_a_vla_with_the_shapes_of_card_and_policy(vla: LeRobotVLA) -> None:
    assert isinstance(vla, VLA)
    spec = vla.spec
    assert (spec.tokens, spec.embed_dim, spec.horizon) == (PER_IMAGE * len(CAMERAS), WIDTH, CHUNK)
    seen = vla.act(observations(), generator=torch.Generator().manual_seed(1))
    assert seen.embeddings.shape == (3, spec.tokens, WIDTH)
    assert seen.mask.shape == (3, spec.tokens)
    assert seen.mask.all()
    assert seen.chunk.shape == (3, CHUNK, JOINTS)
    embeddings, mask = vla.embed(observations())
    torch.testing.assert_close(embeddings, seen.embeddings)
    assert torch.equal(mask, seen.mask)


@pytest.mark.parametrize("row", range(3))
def test_embeddings_are_the_last_layer_of_the_librarys_own_pass_at_the_places_of_the_pictures(
    vla: LeRobotVLA, kind: str, row: int
) -> None:
    from lerobot.policies.common.vla_utils import make_att_2d_masks, prepare_attention_masks_4d

    batch = observations()
    seen = vla.act(batch, generator=torch.Generator().manual_seed(1))
    model = vla.policy.model
    with torch.no_grad():
        prefix, padding, attention = model.embed_prefix(*_library_inputs(kind, batch, row)[:4])
        layers = model.paligemma_with_expert.paligemma.model.language_model(
            inputs_embeds=prefix,
            attention_mask=prepare_attention_masks_4d(make_att_2d_masks(padding, attention)),
            position_ids=torch.cumsum(padding, dim=1) - 1,
            output_hidden_states=True,
        ).hidden_states
    # They stand first, before the one that is not there.
    pictures = slice(0, PER_IMAGE * len(CAMERAS))
    assert torch.equal(seen.mask[row], padding[0, pictures])
    assert not padding[0, PER_IMAGE * len(CAMERAS) : PER_IMAGE * (len(CAMERAS) + 1)].any()
    assert len(layers) == LAYERS + 1
    torch.testing.assert_close(seen.embeddings[row], layers[-1][0, pictures], atol=1e-4, rtol=1e-3)
    for earlier in (prefix, *layers[:-1]):
        assert (seen.embeddings[row] - earlier[0, pictures]).abs().mean() > 0.1


def test_the_chunk_is_the_librarys_own_sample_in_policy_units(vla: LeRobotVLA, kind: str) -> None:
    batch = observations()
    seen = vla.act(batch, generator=torch.Generator().manual_seed(7))
    noise = torch.randn(3, CHUNK, 8, generator=torch.Generator().manual_seed(7))
    with torch.no_grad():
        actions = vla.policy.model.sample_actions(*_library_inputs(kind, batch, 2), noise=noise[2:])
    # Relative actions
    expected = actions[..., :JOINTS] * ACTION / ADAPTER["action_scale"][0]
    torch.testing.assert_close(seen.chunk[2:], expected, atol=2e-3, rtol=1e-3)


def test_embeddings_and_chunk_come_from_one_prefill(vla: LeRobotVLA, monkeypatch: pytest.MonkeyPatch) -> None:
    parts, passes = vla.policy.model.paligemma_with_expert, []
    for name, network in (
        ("language", parts.paligemma.model.language_model),
        ("expert", parts.gemma_expert.model),
    ):
        forward = network.forward

        def counted(*arguments: Any, forward: Any = forward, name: str = name, **named: Any) -> Any:
            passes.append(name)
            return forward(*arguments, **named)

        monkeypatch.setattr(network, "forward", counted)
    vla.act(observations(), generator=torch.Generator().manual_seed(1))
    assert passes == ["language", "expert", "expert", "expert"]
    passes.clear()
    vla.embed(observations())
    assert passes == ["language"]


def test_in_bfloat16_it_says_nearly_the_same(vla: LeRobotVLA, checkpoint: Path, tmp_path: Path) -> None:
    assert_nearly_the_same(vla, load_vla(with_adapter(checkpoint, tmp_path, dtype="bfloat16")))


def test_a_precision_that_it_does_not_have_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"`dtype` is float16; pi05? takes float32 or bfloat16"):
        load_vla(with_adapter(checkpoint, tmp_path, dtype="float16"))


def test_actions_that_the_policy_makes_absolute_itself_are_not_made_so_twice(
    vla: LeRobotVLA, kind: str, tmp_path: Path
) -> None:
    checkpoint = write_tiny_pi(kind, tmp_path / "absolute", use_relative_actions=True)
    with pytest.raises(ConfigError, match=r"`relative` is true.*say false"):
        load_vla(f"lerobot:{checkpoint}")
    absolute = load_vla(with_adapter(checkpoint, tmp_path, relative=False))
    generators = [torch.Generator().manual_seed(1) for _ in range(2)]
    torch.testing.assert_close(
        absolute.act(observations(), generator=generators[0]).chunk,
        vla.act(observations(), generator=generators[1]).chunk,
        atol=1e-4,
        rtol=1e-4,
    )


def test_weights_that_the_library_does_not_find_are_not_made_up(checkpoint: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(checkpoint, tmp_path / "copy")
    (folder / "model.safetensors").rename(folder / "model-00001-of-00001.safetensors")
    with pytest.raises(
        VLALoadError, match=r"lerobot read no weights; it put all of them in `model\.safetensors`"
    ):
        load_vla(f"lerobot:{folder}")


def test_weights_that_are_not_there_are_not_made_up(kind: str, checkpoint: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = shutil.copytree(checkpoint, tmp_path / "copy")
    weights = load_file(folder / "model.safetensors")
    del weights["model.action_out_proj.weight"]
    save_file(weights, folder / "model.safetensors")
    with pytest.raises(
        VLALoadError, match=rf"lacks 1 of the weights of {kind}, such as model\.action_out_proj\.weight"
    ):
        load_vla(f"lerobot:{folder}")


def test_a_token_is_trained_on_it_and_ten_online_updates_follow(checkpoint: Path, tmp_path: Path) -> None:
    """Stage 1 and the beginning of stage 2, on the policy in place of the built-in VLA."""
    from external_vla import learn

    result = learn(f"lerobot:{checkpoint}", tmp_path / "data", cameras=tuple(CAMERAS), joints=JOINTS)
    assert result.reconstruction_after < result.reconstruction_before
    assert result.updates == 10
    assert np.isfinite(result.losses).all()
