"""pi0 of transformers: embeddings and chunk equal those of its own forward pass."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_pi0 import ADAPTER, CAMERAS, CHUNK, JOINTS, PER_IMAGE, SIDE, WIDTH, write_tiny_pi0

pytest.importorskip("transformers", reason="needs `pip install 'rlt_ros[vla]'`")

from rlt_ros.store.parameters import ConfigError
from rlt_ros.store.storage import StorageError
from rlt_ros.vla import VLA, ObservationBatch, ObservationError
from rlt_ros.vla.adapter import VectorConfig, load_adapter
from rlt_ros.vla.backends.transformers_pi0 import TransformersPI0
from rlt_ros.vla.errors import VLALoadError
from rlt_ros.vla.loading import load_frozen, load_vla

PROMPTS = ["plug the charger", "lift it", "plug the charger into the power strip"]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_pi0(tmp_path_factory.mktemp("pi0"))


@pytest.fixture(scope="module")
def pi0(checkpoint: Path) -> TransformersPI0:
    vla = load_vla(f"transformers:{checkpoint}")
    assert isinstance(vla, TransformersPI0)
    return vla


def _observations(count: int = 3, seed: int = 0) -> ObservationBatch:
    random = torch.Generator().manual_seed(seed)
    images = {
        camera: torch.randint(256, (count, 20, 28, 3), dtype=torch.uint8, generator=random)
        for camera in CAMERAS
    }
    return ObservationBatch(images, torch.randn(count, 2 * JOINTS, generator=random), PROMPTS[:count])


def _row(observations: ObservationBatch, row: int) -> ObservationBatch:
    return ObservationBatch(
        {camera: images[row : row + 1] for camera, images in observations.images.items()},
        observations.proprio[row : row + 1],
        [observations.instructions[row]],
    )


def _library_inputs(pi0: TransformersPI0, row: ObservationBatch) -> dict[str, torch.Tensor]:
    """Observation as from the library's processor, by its rules rather than ours."""
    pixels = []
    for camera in CAMERAS:
        # 20×28 has the model's width: bars above and below, black.
        picture = torch.full((3, SIDE, SIDE), -1.0)
        picture[:, 4:24] = row.images[camera][0].permute(2, 0, 1).float() / 127.5 - 1
        pixels.append(picture)
    tokenizer = pi0._tokenizer
    words = tokenizer.convert_tokens_to_ids(row.instructions[0].split())
    newline = tokenizer.convert_tokens_to_ids("\n")
    image = pi0.model.config.vlm_config.image_token_id
    ids = [image] * (PER_IMAGE * len(CAMERAS)) + [tokenizer.bos_token_id, *words, newline]
    return {
        "input_ids": torch.tensor([ids]),
        "attention_mask": torch.ones(1, len(ids), dtype=torch.long),
        "pixel_values": torch.stack(pixels)[None],
        "pixel_attention_mask": torch.ones(1, len(CAMERAS), dtype=torch.bool),
    }


def test_it_is_a_vla_with_the_shapes_of_card_and_model(pi0: TransformersPI0) -> None:
    assert isinstance(pi0, VLA)
    spec = pi0.spec
    assert spec.cameras == tuple(CAMERAS)
    assert (spec.tokens, spec.embed_dim, spec.horizon) == (PER_IMAGE * len(CAMERAS), WIDTH, CHUNK)
    seen = pi0.act(_observations(), generator=torch.Generator().manual_seed(1))
    assert seen.embeddings.shape == (3, spec.tokens, spec.embed_dim)
    assert seen.mask.shape == (3, spec.tokens)
    assert seen.mask.all()
    assert seen.chunk.shape == (3, CHUNK, JOINTS)
    assert seen.embeddings.dtype == seen.chunk.dtype == torch.float32


@pytest.mark.parametrize("row", range(3))
def test_embeddings_are_the_last_layer_of_the_librarys_own_pass_at_the_places_of_the_pictures(
    pi0: TransformersPI0, row: int
) -> None:
    observations = _observations()
    seen = pi0.act(observations, generator=torch.Generator().manual_seed(1))
    inputs = _library_inputs(pi0, _row(observations, row))
    prefix = pi0.model.model.embed_prefix(
        inputs["input_ids"], inputs["pixel_values"], inputs["pixel_attention_mask"]
    )
    with torch.no_grad():
        layers = pi0.model.model.vlm(
            inputs_embeds=prefix,
            attention_mask=inputs["attention_mask"],
            token_type_ids=torch.zeros_like(prefix)[:, :, 0],
            output_hidden_states=True,
        )
    pictures = inputs["input_ids"][0] == pi0.model.config.vlm_config.image_token_id
    last = layers.hidden_states[-1][0, pictures]
    torch.testing.assert_close(seen.embeddings[row], last, atol=2e-5, rtol=1e-4)
    # Not what goes into the first layer.
    assert (seen.embeddings[row] - prefix[0, pictures]).abs().mean() > 0.1
    assert (seen.embeddings[row] - layers.hidden_states[-2][0, pictures]).abs().mean() > 0.1


def test_the_chunk_is_the_librarys_own_sample_in_policy_units(pi0: TransformersPI0) -> None:
    observations = _row(_observations(), 2)
    seen = pi0.act(observations, generator=torch.Generator().manual_seed(7))
    noise = torch.randn(1, CHUNK, 16, generator=torch.Generator().manual_seed(7))
    state = torch.zeros(1, 16)
    state[:, :JOINTS] = (observations.proprio[:, :JOINTS] - 0.1) / 0.5
    actions = pi0.model.sample_actions(state=state, noise=noise, **_library_inputs(pi0, observations))
    # The adapter's standard deviation and scale; relative actions.
    expected = actions[..., :JOINTS] * 0.05 / 0.02
    torch.testing.assert_close(seen.chunk, expected, atol=2e-4, rtol=1e-3)


def test_embeddings_and_chunk_come_from_one_prefill(pi0: TransformersPI0) -> None:
    passes = {"vlm": 0, "dit": 0}

    def count(name: str) -> Any:
        def hook(*_: object) -> None:
            passes[name] += 1

        return hook

    model = pi0.model.model
    handles = [getattr(model, name).register_forward_hook(count(name)) for name in passes]
    try:
        pi0.act(_observations(), generator=torch.Generator().manual_seed(1))
    finally:
        for handle in handles:
            handle.remove()
    assert passes == {"vlm": 1, "dit": 3}


def test_embedding_alone_is_the_same(pi0: TransformersPI0) -> None:
    observations = _observations()
    seen = pi0.act(observations, generator=torch.Generator().manual_seed(1))
    embeddings, mask = pi0.embed(observations)
    torch.testing.assert_close(embeddings, seen.embeddings)
    assert torch.equal(mask, seen.mask)


def test_the_same_seed_gives_the_same_chunk_and_another_one_another(pi0: TransformersPI0) -> None:
    first, same, other = (
        pi0.act(_observations(1), generator=torch.Generator().manual_seed(seed)).chunk for seed in (3, 3, 4)
    )
    assert torch.equal(first, same)
    assert not torch.allclose(first, other)


def test_a_picture_of_another_size_is_refused(pi0: TransformersPI0) -> None:
    observations = _observations(1)
    small = {camera: image[:, :10] for camera, image in observations.images.items()}
    with pytest.raises(ObservationError, match="resize it"):
        pi0.act(dataclasses.replace(observations, images=small), generator=torch.Generator())


def test_the_fingerprint_tells_weights_and_statistics_apart(pi0: TransformersPI0, checkpoint: Path) -> None:
    same = load_vla(f"transformers:{checkpoint}")
    assert same.fingerprint == pi0.fingerprint
    adapter = load_adapter(checkpoint / "rlt_vla.yaml")
    other = dataclasses.replace(adapter, action_scale=(0.03,) * JOINTS)
    assert TransformersPI0.load(str(checkpoint), other).fingerprint != pi0.fingerprint


def test_without_a_token_it_is_said_where_one_belongs(checkpoint: Path) -> None:
    with pytest.raises(StorageError, match=r"tokens/token_charger.safetensors.*pretrain"):
        load_frozen(f"transformers:{checkpoint}", "charger")


def _damaged(checkpoint: Path, folder: Path) -> Path:
    shutil.copytree(checkpoint, folder, dirs_exist_ok=True)
    return folder


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        ("config.json", "lacks config.json"),
        ("tokenizer_config.json", "lacks tokenizer_config.json"),
        ("model.safetensors", "no weights"),
        ("rlt_vla.yaml", "there is no adapter"),
    ],
)
def test_a_missing_file_is_named(checkpoint: Path, tmp_path: Path, missing: str, message: str) -> None:
    folder = _damaged(checkpoint, tmp_path / "copy")
    (folder / missing).unlink()
    with pytest.raises((VLALoadError, ConfigError), match=message):
        load_vla(f"transformers:{folder}")


def test_pickled_weights_are_not_loaded(checkpoint: Path, tmp_path: Path) -> None:
    folder = _damaged(checkpoint, tmp_path / "copy")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(VLALoadError, match="pickled weights are never loaded"):
        load_vla(f"transformers:{folder}")


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"model_type": "llama"}, "`model_type` is 'llama'"),
        ({"type": "smolvla"}, "checkpoint of lerobot"),
        ([1, 2], "not an object"),
    ],
)
def test_a_config_of_another_model_is_refused(
    checkpoint: Path, tmp_path: Path, config: object, message: str
) -> None:
    folder = _damaged(checkpoint, tmp_path / "copy")
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(VLALoadError, match=message):
        load_vla(f"transformers:{folder}")


def test_weights_that_are_not_there_are_not_made_up(checkpoint: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = _damaged(checkpoint, tmp_path / "copy")
    weights = load_file(folder / "model.safetensors")
    del weights["action_out_proj.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(VLALoadError, match=r"lacks 1 of pi0's weights, such as action_out_proj\.weight"):
        load_vla(f"transformers:{folder}")


def test_a_card_for_more_elements_than_the_model_has_is_refused(checkpoint: Path) -> None:
    wide = dataclasses.replace(
        load_adapter(checkpoint / "rlt_vla.yaml"),
        joints=20,
        action_scale=(0.1,) * 20,
        state=VectorConfig(),
        actions=VectorConfig(),
    )
    with pytest.raises(ConfigError, match="uses 20 elements, and the model has 16"):
        TransformersPI0.load(str(checkpoint), wide)


def test_a_token_is_trained_on_it_and_ten_online_updates_follow(checkpoint: Path, tmp_path: Path) -> None:
    """Stage 1 and the beginning of stage 2, on pi0 in place of the built-in VLA."""
    from external_vla import learn

    folder = _damaged(checkpoint, tmp_path / "copy")
    (folder / "rlt_vla.yaml").write_text(json.dumps({**ADAPTER, "image_size": [16, 16]}))
    result = learn(f"transformers:{folder}", tmp_path / "data", cameras=tuple(CAMERAS), joints=JOINTS)
    assert result.reconstruction_after < result.reconstruction_before
    assert result.updates == 10
    assert np.isfinite(result.losses).all()
    assert result.lineage.vla == load_vla(f"transformers:{folder}").fingerprint
