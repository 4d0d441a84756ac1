"""A run's policy without simulator or graph: who chooses, at which rate, within which limits."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from genie_sim_client import ARMS
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_vla import CAMERAS, INSTRUCTION, SIDE

from rlt_ros.cli.main import main
from rlt_ros.perception import Observation
from rlt_ros.serving.errors import RequestError
from rlt_ros.serving.policy import ServingConfig, open_run, resample
from rlt_ros.store.parameters import ConfigError
from rlt_ros.store.storage import StorageError


def _observation(position: np.ndarray = ARMS[7:]) -> Observation:
    random = np.random.default_rng(0)
    images = {camera: random.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8) for camera in CAMERAS}
    return Observation(0, images, position, np.zeros(7))


def test_the_actor_acts_after_the_approach(run: Path) -> None:
    vla, actor, both = (
        open_run(run, serving)
        for serving in (
            ServingConfig(acts="vla"),
            ServingConfig(acts="actor"),
            ServingConfig(acts="actor", approach_steps=10),
        )
    )
    first, second = (
        [policy.decide(_observation(), INSTRUCTION) for _ in range(2)] for policy in (vla, actor)
    )
    mixed = [both.decide(_observation(), INSTRUCTION) for _ in range(2)]
    assert not np.allclose(first[0], second[0])
    np.testing.assert_array_equal(mixed[0], first[0])
    np.testing.assert_array_equal(mixed[1], second[1])


def test_it_is_as_fast_as_the_peer_executes(run: Path) -> None:
    fast, slow = (
        open_run(run, ServingConfig(hz=hz)).decide(_observation(), INSTRUCTION) for hz in (None, 30.0)
    )
    assert len(fast) == 10
    # 0.2 s
    assert len(slow) == 6
    np.testing.assert_allclose(slow[-1], fast[-1])


def test_a_picture_of_another_size_is_refused_by_name(run: Path) -> None:
    whole = _observation()
    small = {camera: image[:4] for camera, image in whole.images.items()}
    with pytest.raises(RequestError, match="resize it"):
        open_run(run, ServingConfig()).decide(
            Observation(0, small, whole.position, whole.velocity), INSTRUCTION
        )


@settings(max_examples=40)
@given(st.integers(1, 30), st.floats(5, 100), st.floats(5, 100), st.integers(0, 1000))
def test_another_rate_has_the_same_path(count: int, hz: float, wanted: float, seed: int) -> None:
    random = np.random.default_rng(seed)
    start, targets = random.normal(size=3), random.normal(size=(count, 3))
    path = resample(start, targets, hz, wanted)
    assert len(path) == max(1, round(count * wanted / hz)) or hz == wanted
    corners = np.vstack([start, targets])
    assert (path >= corners.min(axis=0) - 1e-9).all()
    assert (path <= corners.max(axis=0) + 1e-9).all()
    at = np.minimum(np.arange(1, len(path) + 1) / wanted * hz, count)
    whole = np.isclose(at, np.round(at), rtol=0, atol=1e-9)
    np.testing.assert_allclose(path[whole], corners[np.round(at[whole]).astype(int)], atol=1e-6)


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path, run: Path) -> None:
    with pytest.raises(StorageError, match="give the folder of a run"):
        open_run(tmp_path, ServingConfig())
    (tmp_path / "config.json").write_text((run / "config.json").read_text())
    with pytest.raises(StorageError, match=r"learner\.safetensors"):
        open_run(tmp_path, ServingConfig())
    assert open_run(tmp_path, ServingConfig(acts="vla")).decide(_observation(), INSTRUCTION).shape == (10, 7)


@pytest.mark.parametrize("fields", [{"acts": "human"}, {"approach_steps": -1}, {"hz": 0.0}])
def test_what_cannot_be_served_is_refused(fields: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        ServingConfig(**fields)  # type: ignore[arg-type]


def test_a_vla_alone_speaks_openpi_only(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    weights = json.loads((run / "config.json").read_text())["vla"]
    assert main(["serve", weights]) == 2
    assert "--protocol openpi" in capsys.readouterr().err
