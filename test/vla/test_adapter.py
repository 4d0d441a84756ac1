"""Adapters of external VLAs: arithmetic and invalid values."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from rlt_ros.store.parameters import ConfigError
from rlt_ros.vla.adapter import AdapterConfig, VectorConfig, load_adapter
from rlt_ros.vla.address import VLAAddress, parse_address
from rlt_ros.vla.errors import VLALoadError
from rlt_ros.vla.loading import load_vla
from rlt_ros.vla.vector_adapter import VectorAdapter

PLAIN: dict[str, Any] = {
    "joints": 2,
    "cameras": {"head": "base_0_rgb"},
    "image_size": [8, 8],
    "action_scale": [0.1, 0.2],
}


def _adapter(tmp_path: Path, /, **fields: Any) -> Path:
    path = tmp_path / "rlt_vla.yaml"
    path.write_text(yaml.safe_dump({**PLAIN, **fields}, sort_keys=False))
    return path


def _vectors(adapter: AdapterConfig, *, normalised: bool = True) -> VectorAdapter:
    return VectorAdapter(adapter, state_size=6, action_size=6, normalised=normalised)


def test_joints_stand_at_their_elements_and_the_rest_is_filled(tmp_path: Path) -> None:
    adapter = load_adapter(_adapter(tmp_path, state={"elements": [3, 1], "size": 5, "fill": {0: 7.0}}))
    state = _vectors(adapter).state(torch.tensor([[0.5, -0.5, 9.0, 9.0]]))
    torch.testing.assert_close(state, torch.tensor([[7.0, -0.5, 0.0, 0.5, 0.0, 0.0]]))


def test_degrees_and_turned_joints_become_rad(tmp_path: Path) -> None:
    degree = math.pi / 180
    vector = {"unit": [degree, -degree], "offset": [0.0, 0.1]}
    vectors = _vectors(load_adapter(_adapter(tmp_path, state=vector, actions=vector)))
    proprio = torch.tensor([[math.pi / 2, 0.1 - math.pi / 4, 0.0, 0.0]])
    state = vectors.state(proprio)
    torch.testing.assert_close(state[:, :2], torch.tensor([[90.0, 45.0]]), atol=1e-3, rtol=0)
    chunk = vectors.chunk(torch.tensor([[[91.0, 45.0, 0, 0, 0, 0]]]), proprio)
    torch.testing.assert_close(chunk, torch.tensor([[[degree / 0.1, 0.0]]]), atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    "statistics", [{"mean": [1.0, 2.0], "std": [2.0, 4.0]}, {"q01": [-1.0, -2.0], "q99": [3.0, 6.0]}]
)
def test_either_kind_of_statistics_is_undone(tmp_path: Path, statistics: dict[str, Any]) -> None:
    vectors = _vectors(load_adapter(_adapter(tmp_path, state=statistics, actions=statistics)))
    proprio = torch.tensor([[3.0, -2.0, 0.0, 0.0]])
    torch.testing.assert_close(vectors.state(proprio)[:, :2], torch.tensor([[1.0, -1.0]]))
    chunk = vectors.chunk(torch.tensor([[[1.0, -1.0, 0, 0, 0, 0]]]), proprio)
    # The target is where the arm is.
    torch.testing.assert_close(chunk, torch.zeros(1, 1, 2), atol=1e-5, rtol=0)


@settings(max_examples=30)
@given(
    st.lists(st.floats(-3, 3, width=32), min_size=2, max_size=2),
    st.lists(st.floats(-3, 3, width=32), min_size=2, max_size=2),
    st.booleans(),
)
def test_a_target_becomes_the_displacement_from_what_was_shown(
    position: list[float], target: list[float], relative: bool
) -> None:
    adapter = AdapterConfig(
        **{
            **PLAIN,
            "image_size": (8, 8),
            "action_scale": (0.1, 0.2),
            "relative": relative,
            "actions": VectorConfig(elements=(4, 0), unit=(2.0, -1.0)),
        }
    )
    shown = torch.tensor([[*position, 0.0, 0.0]])
    wanted = torch.tensor(target) - (torch.tensor(position) if relative else 0.0)
    actions = torch.zeros(1, 1, 6)
    actions[0, 0, 4], actions[0, 0, 0] = wanted[0] / 2.0, -wanted[1]
    chunk = _vectors(adapter).chunk(actions, shown)
    expected = (torch.tensor(target) - torch.tensor(position)) / torch.tensor([0.1, 0.2])
    torch.testing.assert_close(chunk[0, 0], expected, atol=1e-4, rtol=1e-4)


def test_the_horizon_is_cut(tmp_path: Path) -> None:
    vectors = _vectors(load_adapter(_adapter(tmp_path, horizon=3)))
    assert vectors.chunk(torch.zeros(1, 9, 6), torch.zeros(1, 4)).shape == (1, 3, 2)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"action_scale": [0.1]}, "`action_scale` has 1 values; it must have 2"),
        ({"action_scale": [0.1, 0.0]}, "action_scale"),
        ({"cameras": {}}, "name at least one"),
        ({"cameras": {"head": "a", "hand": "a"}}, "each camera of the model once"),
        ({"image_size": [8]}, "give height and width"),
        ({"state": {"elements": [0]}}, "`state.elements` has 1 values"),
        ({"state": {"elements": [1, 1]}}, "its own element"),
        ({"state": {"elements": [0, 5], "size": 4}}, "element 5 is used, and `size` is 4"),
        ({"state": {"mean": [0.0, 0.0]}}, "give both for each element"),
        ({"state": {"mean": [0.0], "std": [1.0]}}, "it must have 2, one per element"),
        ({"state": {"mean": [0, 0], "std": [1, 1], "q01": [0, 0], "q99": [1, 1]}}, "one of the two"),
        ({"actions": {"q01": [1.0, 0.0], "q99": [0.0, 1.0]}}, "above `q01`"),
        ({"actions": {"q01": [1.0, 0.0], "q99": [1.0, 1.0]}}, "`actions`: element 0 has `q01` 1 and `q99` 1"),
        ({"state": {"mean": [0, 0], "std": [1.0, 0.0]}}, "`state`: element 1 has `std` 0"),
        ({"actions": {"unit": 0.0}}, "`unit` is 0"),
        ({"actions": {"fill": {"last": 1.0}}}, "numbers of elements"),
        ({"colour": 1}, "`colour` is unknown"),
        ({"folder": "/"}, "remove it"),
        ({"dtype": "int8"}, "dtype"),
    ],
)
def test_what_cannot_be_is_named_with_the_file(tmp_path: Path, fields: dict[str, Any], message: str) -> None:
    path = _adapter(tmp_path, **fields)
    with pytest.raises(ConfigError, match=message) as caught:
        load_adapter(path)
    assert str(path) in str(caught.value)


def test_names_of_vlas_are_taken_apart(tmp_path: Path) -> None:
    adapter = _adapter(tmp_path)
    assert parse_address("builtin") == VLAAddress("builtin")
    assert parse_address("builtin:ur5e") == VLAAddress("builtin", robot="ur5e")
    assert parse_address("runs/weights") == VLAAddress("builtin", "runs/weights")
    assert parse_address(f"transformers:{tmp_path}") == VLAAddress(
        "transformers", str(tmp_path), adapter=adapter
    )
    assert parse_address(f"lerobot:lerobot/smolvla_base@{adapter}") == VLAAddress(
        "lerobot", "lerobot/smolvla_base", adapter=adapter
    )
    assert parse_address(f"openpi:ws://gpu:8000@{adapter}") == VLAAddress(
        "openpi", "ws://gpu:8000", adapter=adapter
    )
    assert parse_address(f"go1:http://user@gpu:9000/act@{adapter}").location == "http://user@gpu:9000/act"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("pytorch:/models/x", "`pytorch` is no kind of VLA"),
        ("transformers:/nowhere/at/all", "neither a folder of this machine nor a hub id"),
        ("lerobot:lerobot/smolvla_base", "there is no adapter"),
        ("openpi:http://gpu:8000", "expected ws://HOST:PORT"),
        ("go1:gpu", "expected http://HOST:PORT"),
    ],
)
def test_a_name_that_means_nothing_is_refused(name: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_address(name)


def test_a_library_that_is_not_installed_is_named_with_the_extra_that_brings_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As if it were not there
    monkeypatch.setitem(sys.modules, "lerobot.configs.policies", None)
    monkeypatch.setitem(sys.modules, "lerobot", None)
    _adapter(tmp_path)
    (tmp_path / "config.json").write_text('{"type": "smolvla"}')
    (tmp_path / "policy_preprocessor.json").write_text("{}")
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(VLALoadError, match=r"needs lerobot.*rlt_ros\[lerobot\]"):
        load_vla(f"lerobot:{tmp_path}")


def test_statistics_of_an_element_that_hardly_moved_are_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    load_adapter(_adapter(tmp_path, state={"mean": [0, 0], "std": [1.0, 5e-4]}))
    assert "`state`: element 1 has `std` 0.0005" in caplog.text


def test_statistics_of_elements_that_are_not_used_may_be_anything(tmp_path: Path) -> None:
    load_adapter(_adapter(tmp_path, state={"mean": [0, 0, 0], "std": [1.0, 1.0, 0.0]}))
