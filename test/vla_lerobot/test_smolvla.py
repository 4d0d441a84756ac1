"""Embeddings and chunks of lerobot's SmolVLA equal those of its own pass."""

from __future__ import annotations

import json
import shutil
from inspect import signature
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_policy import ADAPTER, CAMERAS, CHUNK, JOINTS, assert_nearly_the_same, observations, with_adapter
from tiny_smolvla import PER_IMAGE, SIDE, WIDTH, write_tiny_smolvla

from rlt_ros.store.parameters import ConfigError
from rlt_ros.vla import VLA, ObservationBatch
from rlt_ros.vla.backends.lerobot_policy import LeRobotVLA
from rlt_ros.vla.errors import VLALoadError
from rlt_ros.vla.loading import load_vla


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_smolvla(tmp_path_factory.mktemp("smolvla"))


@pytest.fixture(scope="module")
def smolvla(checkpoint: Path) -> LeRobotVLA:
    vla = load_vla(f"lerobot:{checkpoint}")
    assert isinstance(vla, LeRobotVLA)
    return vla


def _library_inputs(smolvla: LeRobotVLA, batch: ObservationBatch, row: int) -> tuple[Any, ...]:
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
    there = [torch.ones(1, dtype=torch.bool)] * len(CAMERAS)
    tokenizer = smolvla.policy.model.vlm_with_expert.processor.tokenizer
    words = tokenizer.convert_tokens_to_ids([*batch.instructions[row].split(), "\n"])
    state = torch.zeros(1, 8)
    state[:, :JOINTS] = (batch.proprio[row : row + 1, :JOINTS] - 0.1) / 0.5
    return pictures, there, torch.tensor([words]), torch.ones(1, len(words), dtype=torch.bool), state


def test_it_is_a_vla_with_the_shapes_of_card_and_policy(smolvla: LeRobotVLA) -> None:
    assert isinstance(smolvla, VLA)
    spec = smolvla.spec
    assert (spec.tokens, spec.embed_dim, spec.horizon) == (PER_IMAGE * len(CAMERAS), WIDTH, CHUNK)
    seen = smolvla.act(observations(), generator=torch.Generator().manual_seed(1))
    assert seen.embeddings.shape == (3, spec.tokens, WIDTH)
    assert seen.mask.all()
    assert seen.chunk.shape == (3, CHUNK, JOINTS)
    embeddings, mask = smolvla.embed(observations())
    torch.testing.assert_close(embeddings, seen.embeddings)
    assert torch.equal(mask, seen.mask)


@pytest.mark.parametrize("row", range(3))
def test_embeddings_are_the_last_layer_of_the_librarys_own_pass_at_the_places_of_the_pictures(
    smolvla: LeRobotVLA, row: int
) -> None:
    from lerobot.policies.smolvla.modeling_smolvla import make_att_2d_masks

    batch = observations()
    seen = smolvla.act(batch, generator=torch.Generator().manual_seed(1))
    model = smolvla.policy.model
    parameters = signature(type(model.vlm_with_expert).forward).parameters
    # Of 0.4.4 alone
    fill = {"fill_kv_cache": True} if "fill_kv_cache" in parameters else {}
    with torch.no_grad():
        prefix, padding, attention = model.embed_prefix(
            *_library_inputs(smolvla, batch, row)[:4],
            state=_library_inputs(smolvla, batch, row)[4],
        )
        (last, _), _ = model.vlm_with_expert.forward(
            attention_mask=make_att_2d_masks(padding, attention),
            position_ids=torch.cumsum(padding, dim=1) - 1,
            past_key_values=None,
            inputs_embeds=[prefix, None],
            use_cache=True,
            **fill,
        )
    # Pictures stand first
    pictures = slice(0, PER_IMAGE * len(CAMERAS))
    torch.testing.assert_close(seen.embeddings[row], last[0, pictures], atol=2e-4, rtol=1e-3)
    # Not what goes into the first layer; two layers of small random weights change it by a tenth.
    assert (seen.embeddings[row] - prefix[0, pictures]).abs().mean() > 0.02


def test_the_chunk_is_the_librarys_own_sample_in_policy_units(smolvla: LeRobotVLA) -> None:
    batch = observations()
    seen = smolvla.act(batch, generator=torch.Generator().manual_seed(7))
    noise = torch.randn(3, CHUNK, 8, generator=torch.Generator().manual_seed(7))
    with torch.no_grad():
        actions = smolvla.policy.model.sample_actions(*_library_inputs(smolvla, batch, 2), noise=noise[2:])
    # Standard deviation and scale; relative actions.
    expected = actions[..., :JOINTS] * 0.05 / 0.02
    torch.testing.assert_close(seen.chunk[2:], expected, atol=2e-3, rtol=1e-2)


def test_embeddings_and_chunk_come_from_one_prefill(
    smolvla: LeRobotVLA, monkeypatch: pytest.MonkeyPatch
) -> None:
    language, prefills = smolvla.policy.model.vlm_with_expert, []
    forward = language.forward

    def counted(*arguments: Any, **named: Any) -> Any:
        prefills.append(named["inputs_embeds"][0] is not None)
        return forward(*arguments, **named)

    monkeypatch.setattr(language, "forward", counted)
    smolvla.act(observations(), generator=torch.Generator().manual_seed(1))
    assert prefills == [True, False, False, False]


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_in_half_precision_it_says_nearly_the_same(
    smolvla: LeRobotVLA, checkpoint: Path, tmp_path: Path, dtype: str
) -> None:
    assert_nearly_the_same(smolvla, load_vla(with_adapter(checkpoint, tmp_path, dtype=dtype)))


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        ("config.json", "lacks config.json"),
        ("policy_preprocessor.json", "lacks policy_preprocessor.json"),
        ("model.safetensors", "no weights"),
    ],
)
def test_a_missing_file_is_named(checkpoint: Path, tmp_path: Path, missing: str, message: str) -> None:
    folder = shutil.copytree(checkpoint, tmp_path / "copy")
    for path in folder.glob("*.safetensors") if missing.endswith("safetensors") else [folder / missing]:
        path.unlink()
    with pytest.raises(VLALoadError, match=message):
        load_vla(f"lerobot:{folder}")


def test_weights_that_are_not_there_are_not_made_up(checkpoint: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = shutil.copytree(checkpoint, tmp_path / "copy")
    weights = load_file(folder / "model.safetensors")
    del weights["model.action_out_proj.weight"]
    save_file(weights, folder / "model.safetensors")
    with pytest.raises(
        VLALoadError, match=r"lacks 1 of the weights of smolvla, such as model\.action_out_proj\.weight"
    ):
        load_vla(f"lerobot:{folder}")


@pytest.mark.parametrize(
    ("config", "message"),
    [({"type": "act"}, "takes smolvla, pi0, pi05"), ({"model_type": "pi0"}, "of transformers")],
)
def test_a_policy_of_another_kind_is_refused(
    checkpoint: Path, tmp_path: Path, config: dict[str, str], message: str
) -> None:
    folder = shutil.copytree(checkpoint, tmp_path / "copy")
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(VLALoadError, match=message):
        load_vla(f"lerobot:{folder}")


def test_a_camera_that_the_policy_does_not_have_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(checkpoint, tmp_path / "copy")
    (folder / "rlt_vla.yaml").write_text(json.dumps({**ADAPTER, "cameras": {"head": "belly"}}))
    with pytest.raises(ConfigError, match=r"names observation\.images\.belly"):
        load_vla(f"lerobot:{folder}")


def test_a_token_is_trained_on_it_and_ten_online_updates_follow(checkpoint: Path, tmp_path: Path) -> None:
    """Stage 1 and the beginning of stage 2, on SmolVLA in place of the built-in VLA."""
    from external_vla import learn

    result = learn(f"lerobot:{checkpoint}", tmp_path / "data", cameras=tuple(CAMERAS), joints=JOINTS)
    assert result.reconstruction_after < result.reconstruction_before
    assert result.updates == 10
    assert np.isfinite(result.losses).all()
