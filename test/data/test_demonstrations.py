"""Demonstration files: round trip, contract checks, damaged files."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from rlt_ros.data import Demonstration, DemonstrationError, load, load_folder, save
from rlt_ros.data.demonstrations import file_name
from rlt_ros.store.storage import save_tensors


def make(seed: int = 0, task: str = "charger", steps: int = 9) -> Demonstration:
    random = np.random.default_rng(seed)
    image_steps = np.arange(0, steps, 2, dtype=np.int32)
    return Demonstration(
        task=task,
        instruction=f"plug in the {task}",
        seed=seed,
        hz=50.0,
        success=seed % 2 == 0,
        position=random.normal(size=(steps, 7)).astype(np.float32),
        velocity=random.normal(size=(steps, 7)).astype(np.float32),
        command=random.normal(size=(steps, 7)).astype(np.float32),
        images={
            c: random.integers(0, 256, (len(image_steps), 6, 8, 3), dtype=np.uint8)
            for c in ("head", "hand_left")
        },
        image_steps=image_steps,
        privileged=random.normal(size=(steps, 6)).astype(np.float32),
    )


def test_a_saved_demonstration_loads_equal(tmp_path: Path) -> None:
    original = make(seed=3)
    loaded = load(save(original, tmp_path / "new"))
    for field in dataclasses.fields(Demonstration):
        expected, got = getattr(original, field.name), getattr(loaded, field.name)
        if field.name == "images":
            assert expected.keys() == got.keys()
            assert all(np.array_equal(expected[c], got[c]) for c in expected)
        elif isinstance(expected, np.ndarray):
            assert got.dtype == expected.dtype and np.array_equal(expected, got)
        else:
            assert got == expected


def test_privileged_truth_is_optional(tmp_path: Path) -> None:
    assert load(save(dataclasses.replace(make(), privileged=None), tmp_path)).privileged is None


def test_loaded_images_are_views_of_the_file_and_cannot_be_written(tmp_path: Path) -> None:
    frames = load(save(make(), tmp_path)).images["head"]
    assert isinstance(frames, np.memmap) and not frames.flags.owndata
    with pytest.raises(ValueError, match="read-only"):
        frames[0] = 0


def test_a_folder_is_loaded_in_order_of_task_and_seed(tmp_path: Path) -> None:
    for task, seed in (("screw", 1), ("charger", 10), ("charger", 2)):
        save(make(seed, task), tmp_path / task)
    assert [(d.task, d.seed) for d in load_folder(tmp_path)] == [
        ("charger", 2),
        ("charger", 10),
        ("screw", 1),
    ]


def test_recording_a_seed_again_replaces_its_file(tmp_path: Path) -> None:
    save(make(4, steps=9), tmp_path)
    save(make(4, steps=5), tmp_path)
    assert [d.steps for d in load_folder(tmp_path)] == [5]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"velocity": np.zeros((9, 6), np.float32)}, "velocity must be float32"),
        ({"command": np.zeros((9, 7))}, "command must be float32"),
        ({"position": np.full((9, 7), np.nan, np.float32)}, "position holds NaN"),
        ({"image_steps": np.array([0, 2, 2, 6, 8], np.int32)}, "increase strictly"),
        ({"image_steps": np.array([0, 2, 4, 6, 9], np.int32)}, "increase strictly"),
        ({"images": {"head": np.zeros((4, 6, 8, 3), np.uint8)}}, "camera 'head'"),
        ({"images": {}}, "no camera"),
        ({"hz": 0.0}, "hz must be positive"),
        ({"task": ""}, "needs a task"),
        ({"privileged": np.zeros((8, 6), np.float32)}, "privileged must be float32"),
    ],
)
def test_a_demonstration_that_breaks_the_contract_is_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(DemonstrationError, match=message):
        dataclasses.replace(make(), **change)


@pytest.mark.parametrize("keep", [0, 5, 200, -1])
def test_a_truncated_file_is_named_in_the_error(tmp_path: Path, keep: int) -> None:
    path = save(make(), tmp_path)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(DemonstrationError, match=file_name("charger", 0)):
        load(path)


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    save_tensors(path, {"w": torch.zeros(3)}, kind="actor", metadata={})
    with pytest.raises(DemonstrationError, match="holds 'actor'"):
        load(path)


def test_an_empty_folder_says_how_to_get_demonstrations(tmp_path: Path) -> None:
    with pytest.raises(DemonstrationError, match="rlt-ros pretrain"):
        load_folder(tmp_path)
