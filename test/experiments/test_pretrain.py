"""The pretraining pipeline, small but whole: toy demonstrations in place of the simulator, everything else
real.
"""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console

from rlt_ros.data import save
from rlt_ros.experiments import pretrain
from rlt_ros.rlt.training import TrainingState
from rlt_ros.store.parameters import ConfigError
from rlt_ros.store.storage import StorageError
from rlt_ros.vla import ObservationBatch
from rlt_ros.vla.builtin import load_builtin
from rlt_ros.vla.weights import checksum

sys.path.append(str(Path(__file__).parents[1] / "vla"))
from synthetic import CAMERAS, INSTRUCTIONS, demonstration

OVERRIDES = {
    "pretrain": {"tasks": ["left", "right"], "demonstrations": 6, "held_out": 3, "cameras": list(CAMERAS)},
    "vla": {"width": 16, "layers": 1, "heads": 2, "stem_width": 4, "horizon": 10, "head_layers": 1},
    "vla_training": {"steps": 8, "batch": 8, "checkpoint_every": 2, "compute": "float32"},
    "token": {
        "z_dim": 8,
        "width": 16,
        "layers": 1,
        "heads": 2,
        "steps": 8,
        "batch": 8,
        "checkpoint_every": 2,
    },
}


def record(task: str, seeds: range, folder: Path, workers: int, on_recorded: Callable[[], None]) -> None:
    for seed in seeds:
        save(demonstration(task, seed), folder)
        on_recorded()


def run(out: Path, **sections: dict[str, object]) -> dict[str, Any]:
    overrides = {name: {**values, **sections.get(name, {})} for name, values in OVERRIDES.items()}
    return pretrain.run(out, overrides=overrides, recorder=record, console=Console(file=io.StringIO()))


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("weights")
    run(out)
    return out


def test_the_folder_loads_as_vla_and_tokens_that_work_together(weights: Path) -> None:
    for task, instruction in INSTRUCTIONS.items():
        vla, token = load_builtin(task, weights)
        images = {camera: torch.zeros(1, 32, 32, 3, dtype=torch.uint8) for camera in CAMERAS}
        batch = ObservationBatch(images, torch.zeros(1, 4), [instruction])
        out = vla.act(batch, generator=torch.Generator().manual_seed(0))
        assert token(out.embeddings, out.mask).shape == (1, 8)


def test_the_index_names_files_lineage_data_and_diagnostics(weights: Path) -> None:
    index = json.loads((weights / "pretrain.json").read_text())
    vla, token = load_builtin("left", weights)
    assert index["lineage"]["vla"] == vla.fingerprint and index["lineage"]["token_left"] == token.fingerprint
    assert index["files"]["vla.safetensors"] == checksum(weights / "vla.safetensors")
    assert index["data"]["seen"]["episodes"] == 8 and index["data"]["unseen"]["episodes"] == 4
    assert {"chunk", "horizon", "hold_chunk"} <= index["actions"].keys()
    for readout in ("rl_token", "mean", "random"):
        assert {"pairwise_cosine", "effective_rank", "probe_x_mm"} <= index["tokens"]["right"][readout].keys()


def test_a_run_stopped_in_every_stage_ends_with_the_same_weights(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    apply, stops = (
        TrainingState.apply,
        [5, 16, 22],
    )  # inside the VLA's 8 steps, the first token's, the second's
    steps = 0

    def counted(self: TrainingState, *, rate: float, clip: float) -> None:
        nonlocal steps
        steps += 1
        if steps in stops:
            raise KeyboardInterrupt
        apply(self, rate=rate, clip=clip)

    monkeypatch.setattr(TrainingState, "apply", counted)
    for _ in stops:
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path)
    assert run(tmp_path)["lineage"] == json.loads((weights / "pretrain.json").read_text())["lineage"]


def test_a_finished_folder_is_left_as_it_is(weights: Path) -> None:
    before = {path.name: path.stat().st_mtime_ns for path in weights.glob("*.safetensors")}
    run(weights)
    assert {path.name: path.stat().st_mtime_ns for path in weights.glob("*.safetensors")} == before


def test_a_folder_begun_with_other_parameters_is_refused(weights: Path) -> None:
    with pytest.raises(ConfigError, match="started with other parameters"):
        run(weights, token={"steps": 9})


@pytest.mark.parametrize(
    ("section", "values", "message"),
    [
        ("token", {"z_width": 3}, "z_width"),
        ("vla", {"layers": 0}, "layers"),
        ("pretrain", {"held_out": 20}, "held_out"),
        ("token", {"vla_weight": 1.0}, "vla_weight"),
    ],
)
def test_impossible_parameters_are_named(
    tmp_path: Path, section: str, values: dict[str, object], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        run(tmp_path, **{section: values})


def test_a_swapped_file_a_lost_file_and_an_unknown_task_are_refused(weights: Path, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    folder.mkdir()
    for path in weights.glob("*.*"):
        if path.is_file():
            (folder / path.name).write_bytes(path.read_bytes())
    (folder / "token_left.safetensors").write_bytes((folder / "token_right.safetensors").read_bytes())
    with pytest.raises(StorageError, match=r"token_left\.safetensors"):
        load_builtin("left", folder)
    (folder / "token_right.safetensors").unlink()
    with pytest.raises(StorageError, match="cannot be read"):
        load_builtin("right", folder)
    with pytest.raises(StorageError, match="lists no token_up"):
        load_builtin("up", folder)
    with pytest.raises(StorageError, match="holds no weights"):
        load_builtin("left", tmp_path)
