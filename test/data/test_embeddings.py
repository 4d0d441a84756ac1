"""Embeddings of a data set on disk, and the RL token that is trained on them."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from rlt_ros.bench.synthetic_data import SyntheticSpec, pack
from rlt_ros.data.agibot import ARM_JOINTS
from rlt_ros.data.embeddings import EmbeddingFolder, EmbeddingSpec, Shard, embed
from rlt_ros.data.errors import DataError, EmptyResultError, EpisodeError
from rlt_ros.data.source import open_source
from rlt_ros.data.video import encode_video
from rlt_ros.experiments.token_from_data import EpisodeEmbeddings
from rlt_ros.experiments.token_from_data import run as train_token
from rlt_ros.store.parameters import ConfigError
from rlt_ros.vla.builtin import BuiltinVLA, load_builtin
from rlt_ros.vla.protocol import ObservationBatch
from rlt_ros.vla.weights import INDEX, VLA_FILE

sys.path.append(str(Path(__file__).parents[1]))
from tiny_vla import INSTRUCTION, write_tiny_vla

RECIPE = SyntheticSpec()
RIGHT_ARM = ARM_JOINTS[7:]
SPEC = EmbeddingSpec(every=5, joints=RIGHT_ARM, instruction=INSTRUCTION)


@pytest.fixture(scope="module")
def vla(tmp_path_factory: pytest.TempPathFactory) -> BuiltinVLA:
    folder = tmp_path_factory.mktemp("vla")
    write_tiny_vla(folder)
    return BuiltinVLA.load(folder / VLA_FILE)


def test_a_shard_holds_what_the_vla_says_of_the_chosen_rows(
    vla: BuiltinVLA, folders: dict[str, Path], tmp_path: Path
) -> None:
    source = open_source([folders["lerobot_v2"]])
    folder = EmbeddingFolder(tmp_path, vla, SPEC, source.container.origin)
    result = embed(source, folder, source.names)
    assert (result["episodes"], result["new_observations"]) == (3, 9)
    episode = list(source.episodes())[1].select(RIGHT_ARM)
    rows = [0, 5, 10]
    pictures = list(episode.frames(rows, vla.spec.image_size))
    images = {c: torch.from_numpy(np.stack([p[c] for p in pictures])) for c in vla.spec.cameras}
    expected, _ = vla.embed(
        ObservationBatch(images, torch.from_numpy(episode.proprio[rows]), [INSTRUCTION] * 3)
    )
    shard = folder.shards()[1]
    assert shard.source == source.fingerprint("episode_000001")
    assert shard.name == "episode_000001" and shard.mask.all()
    assert np.array_equal(shard.embeddings, expected.numpy().astype(np.float16))
    assert isinstance(shard.embeddings, np.memmap)


def test_embedding_goes_on_where_it_was_stopped(
    vla: BuiltinVLA, folders: dict[str, Path], tmp_path: Path
) -> None:
    parts = pack(folders["raw"], tmp_path / "in" / "set.tar.gz", (20_000,))
    last = parts[-1].read_bytes()
    parts[-1].unlink()
    source = open_source(parts[:-1], work=tmp_path / "w")
    folder = EmbeddingFolder(tmp_path / "e", vla, SPEC, source.container.origin)
    first = embed(source, folder, source.names)
    assert "missing" in first["damage"] and 0 < first["episodes"] < 3
    kept = {path: path.stat().st_mtime_ns for path in folder.path.iterdir()}
    parts[-1].write_bytes(last)
    source = open_source(parts, work=tmp_path / "w")
    second = embed(source, folder, source.names)
    assert (second["episodes"], second["kept_from_before"]) == (3, first["episodes"])
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    source = open_source(parts, work=tmp_path / "w")
    assert embed(source, folder, source.names)["new_observations"] == 0
    # Nothing was read for it
    assert source.container.passes == 0


def test_another_vla_or_choice_never_meets_these_embeddings(vla: BuiltinVLA, tmp_path: Path) -> None:
    write_tiny_vla(tmp_path / "other", seed=1)
    other = BuiltinVLA.load(tmp_path / "other" / VLA_FILE)
    folders = {
        EmbeddingFolder(tmp_path, model, spec, origin).path
        for model in (vla, other)
        for spec in (SPEC, EmbeddingSpec(every=4, joints=RIGHT_ARM))
        for origin in ("one", "two")
    }
    assert len(folders) == 8


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        (EmbeddingSpec(), "is refused by the VLA"),
        (EmbeddingSpec(joints=("elbow",)), "lacks the joints elbow"),
        (EmbeddingSpec(joints=RIGHT_ARM, cameras={"head": "roof"}), "lacks the cameras roof"),
    ],
)
def test_when_nothing_fits_the_vla_the_first_reasons_are_told(
    vla: BuiltinVLA, folders: dict[str, Path], tmp_path: Path, spec: EmbeddingSpec, reason: str
) -> None:
    source = open_source([folders["lerobot_v2"]])
    folder = EmbeddingFolder(tmp_path, vla, spec, source.container.origin)
    with pytest.raises(EmptyResultError, match=f"no episode could be embedded: 3 × {reason}"):
        embed(source, folder, source.names)
    assert len(source.skips) == 3
    with pytest.raises(EpisodeError, match=reason):
        folder.add(next(source.episodes()), "")


def test_an_episode_that_changed_is_embedded_again_and_its_token_is_another(
    vla: BuiltinVLA, copied: Callable[[str], Path], tmp_path: Path
) -> None:
    home = copied("lerobot_v2")

    def make() -> tuple[dict[str, object], list[Shard]]:
        source = open_source([home])
        folder = EmbeddingFolder(tmp_path / "e", vla, SPEC, source.container.origin)
        return embed(source, folder, source.names), folder.shards()

    _, before = make()
    old = [np.array(shard.embeddings) for shard in before]
    for video in home.rglob("episode_000001.mp4"):
        noise = np.random.default_rng(0).integers(0, 256, (RECIPE.rows, *RECIPE.size, 3), np.uint8)
        encode_video(video, noise, fps=30, codec="h264")
    result, after = make()
    assert (result["episodes"], result["kept_from_before"]) == (3, 2)
    same = [np.array_equal(old[index], after[index].embeddings) for index in range(3)]
    assert same == [True, False, True]
    assert [one.source == other.source for one, other in zip(before, after, strict=True)] == same
    assert make()[0]["kept_from_before"] == 3


def test_a_token_of_data_that_changed_is_not_taken_for_the_new_one(
    vla: BuiltinVLA, copied: Callable[[str], Path], tmp_path: Path
) -> None:
    home = copied("lerobot_v2")

    def make() -> dict[str, object]:
        return train_token(
            tmp_path / "out", open_source([home]), vla, task="block", spec=SPEC, overrides=TOKEN
        )

    assert make() == make()
    entries = [json.loads(line) for line in (home / "meta/episodes.jsonl").read_text().splitlines()]
    entries[2]["tasks"] = ["another"]
    (home / "meta/episodes.jsonl").write_text("\n".join(map(json.dumps, entries)))
    with pytest.raises(ConfigError, match="of other episodes or parameters"):
        make()


def test_a_damaged_file_is_named_with_its_remedy(
    vla: BuiltinVLA, folders: dict[str, Path], tmp_path: Path
) -> None:
    source = open_source([folders["lerobot_v2"]])
    folder = EmbeddingFolder(tmp_path, vla, SPEC, source.container.origin)
    embed(source, folder, source.names[:1])
    (file,) = folder.path.glob("*.npy")
    file.write_bytes(file.read_bytes()[:-10])
    with pytest.raises(DataError, match="to embed it again"):
        folder.shards()


def test_batches_and_sweeps_cross_the_borders_of_episodes(
    vla: BuiltinVLA, folders: dict[str, Path], tmp_path: Path
) -> None:
    source = open_source([folders["lerobot_v2"]])
    folder = EmbeddingFolder(tmp_path, vla, SPEC, source.container.origin)
    embed(source, folder, source.names)
    shards = folder.shards()
    embeddings = EpisodeEmbeddings(vla, shards)
    whole = np.concatenate([shard.embeddings for shard in shards]).astype(np.float32)
    assert np.array_equal(torch.cat([e for e, _ in embeddings.sweep()]).numpy(), whole)
    drawn = embeddings.draw(50, torch.Generator().manual_seed(0))
    assert drawn.embeddings.shape == (50, *whole.shape[1:]) and drawn.mask.all()
    assert {row.tobytes() for row in drawn.embeddings.numpy()} == {row.tobytes() for row in whole}


TOKEN = {
    "token": {
        "steps": 12,
        "z_dim": 8,
        "width": 16,
        "layers": 1,
        "heads": 2,
        "batch": 4,
        "warmup": 2,
        "compute": "float32",
    }
}


def test_a_token_is_trained_from_data_and_loads_with_its_vla(
    vla: BuiltinVLA, folders: dict[str, Path], tmp_path: Path
) -> None:
    def make(out: Path, wanted: str = "") -> dict[str, object]:
        source = open_source([folders["lerobot_v3"]])
        return train_token(out, source, vla, task="block", wanted=wanted, spec=SPEC, overrides=TOKEN)

    result = make(tmp_path / "one")
    loaded, token = load_builtin("block", tmp_path / "one")
    assert (loaded.fingerprint, token.z_dim) == (vla.fingerprint, 8)
    assert result["fingerprint"] == token.fingerprint
    assert result["observations"] == 9
    # Finished work is read back.
    assert make(tmp_path / "one") == result
    assert make(tmp_path / "two")["fingerprint"] == token.fingerprint
    with pytest.raises(ConfigError, match="of other episodes or parameters"):
        make(tmp_path / "one", "0-1")


def test_a_token_from_data_joins_the_tokens_of_a_weights_folder(
    vla: BuiltinVLA, folders: dict[str, Path], tmp_path: Path
) -> None:
    frozen = write_tiny_vla(tmp_path)
    (there,) = tmp_path.glob("token_*.safetensors")
    index = json.loads((tmp_path / INDEX).read_text())
    (tmp_path / INDEX).write_text(json.dumps({**index, "settings": {"kept": 1}}))

    def make(task: str) -> dict[str, object]:
        source = open_source([folders["lerobot_v3"]])
        return train_token(tmp_path, source, vla, task=task, spec=SPEC, overrides=TOKEN)

    result = make("block")
    index = json.loads((tmp_path / INDEX).read_text())
    assert index["lineage"] == {
        "vla": vla.fingerprint,
        there.stem: frozen.token.fingerprint,
        "token_block": result["fingerprint"],
    }
    assert index["settings"] == {"kept": 1}
    with pytest.raises(ConfigError, match=f"{there.name}: was made by another command"):
        make(there.stem.removeprefix("token_"))


def test_a_weights_folder_of_another_vla_is_left_alone(
    vla: BuiltinVLA, folders: dict[str, Path], tmp_path: Path
) -> None:
    write_tiny_vla(tmp_path, seed=1)
    source = open_source([folders["lerobot_v3"]])
    with pytest.raises(ConfigError, match="is another VLA"):
        train_token(tmp_path, source, vla, task="block", spec=SPEC, overrides=TOKEN)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"vla_training": {"steps": 3}}, "the sections vla_training do not apply"),
        ({"token": {"vla_weight": 0.5}}, "vla_weight must be 0"),
        ({"token": {"stepz": 3}}, "stepz"),
    ],
)
def test_parameters_that_do_not_apply_are_refused(
    vla: BuiltinVLA,
    folders: dict[str, Path],
    tmp_path: Path,
    overrides: dict[str, dict[str, object]],
    message: str,
) -> None:
    source = open_source([folders["lerobot_v3"]])
    with pytest.raises(ConfigError, match=message):
        train_token(tmp_path, source, vla, task="block", overrides=overrides)
