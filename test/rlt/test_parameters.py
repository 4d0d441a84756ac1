from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from rlt_ros.rlt.config import RLTConfig, Shapes
from rlt_ros.store.parameter_file import read_parameters, values_for
from rlt_ros.store.parameters import ConfigError, build, describe, nested, parameter

CONFIG = Path(__file__).parents[2] / "config" / "rlt.yaml"


@dataclasses.dataclass(frozen=True)
class Gripper:
    width: float = parameter(dataclasses.MISSING, help="Opening.", unit="m", low=0.0)


@dataclasses.dataclass(frozen=True)
class Arm:
    gripper: Gripper
    joints: tuple[str, ...] = ()
    limits: tuple[float, float] = (0.0, 1.0)
    note: str | None = None


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"bta": 1.0}, "`bta` is unknown; did you mean `beta`"),
        ({"beta": "strong"}, "`beta` is 'strong' (str); it must be float"),
        ({"chunk": True}, "`chunk` is True (bool); it must be int"),
        ({"chunk": 10.0}, "`chunk` is 10.0 (float); it must be int"),
        ({"gamma": 1.5}, "`gamma` is 1.5; it must be 0.0 to 1.0"),
        ({"gamma": float("nan")}, "`gamma` is nan; it must be a finite number"),
        ({"sigma": float("inf")}, "`sigma` is inf; it must be a finite number"),
        ({"chunk": 0}, "`chunk` is 0; it must be at least 1 steps"),
        ({"hidden": [256, 0]}, "`hidden` is 0; it must be at least 1"),
        ({"hidden": []}, "`hidden` is empty"),
        ({"compute": "fp8"}, "`compute` is 'fp8'; allowed: auto, float32, bfloat16"),
        ({"chunk": 4, "stride": 5}, "`stride` is 5; it must be at most `chunk`, 4"),
    ],
)
def test_a_value_that_does_not_fit_is_named_with_its_origin(values: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError) as error:
        build(RLTConfig, values, origin="my.yaml")
    assert str(error.value).startswith("my.yaml: ")
    assert message in str(error.value)


def test_a_dataclass_checks_itself_when_made_in_code() -> None:
    with pytest.raises(ConfigError, match=r"`beta` is -1\.0; it must be at least 0.0"):
        RLTConfig(beta=-1.0)


def test_whole_numbers_become_floats_and_lists_become_tuples() -> None:
    config = build(RLTConfig, {"beta": 1, "hidden": [512, 512, 512]}, origin="x")
    assert isinstance(config.beta, float)
    assert config.hidden == (512, 512, 512)


def test_nested_dataclasses_are_built() -> None:
    arm = build(Arm, {"gripper": {"width": 1}, "joints": ["a", "b"], "limits": [0, 2]}, origin="x")
    assert arm == Arm(Gripper(1.0), ("a", "b"), (0.0, 2.0), None)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "`gripper` is required and missing"),
        ({"gripper": {}}, "`gripper.width` is required and missing"),
        ({"gripper": {"width": 1, "depth": 2}}, "`gripper.depth` is unknown"),
        ({"gripper": 3}, "`gripper` is 3; it must be a section"),
        ({"gripper": {"width": 1}, "limits": [1]}, "`limits` has 1 values; it must have 2"),
        ({"gripper": {"width": 1}, "note": 3}, "`note` is 3 (int); it must be str"),
    ],
)
def test_errors_in_nested_values_name_the_whole_path(values: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError) as error:
        build(Arm, values, origin="x")
    assert message in str(error.value)


def test_the_shipped_file_holds_exactly_the_defaults() -> None:
    values = nested(values_for(read_parameters(CONFIG), "/any"))
    assert build(RLTConfig, values["rlt"], origin=str(CONFIG)) == RLTConfig()
    keys = {line.split(":")[0].strip() for line in CONFIG.read_text().splitlines()}
    assert {field.name for field in dataclasses.fields(RLTConfig)} <= keys


def test_every_hyper_parameter_says_what_it_does_and_where_its_default_comes_from() -> None:
    for described in describe(RLTConfig):
        assert described.help.endswith("."), described.name
        assert described.source, described.name


def test_descriptions_give_nested_names_and_ranges() -> None:
    described = {item.name: item for item in describe(Arm)}
    assert described["gripper.width"].range == "at least 0.0"
    assert described["gripper.width"].default is dataclasses.MISSING
    assert described["joints"].type == "tuple[str, ...]"
    assert {item.name: item.range for item in describe(RLTConfig)}["compute"] == "auto | float32 | bfloat16"


def test_shapes_survive_metadata() -> None:
    shapes = Shapes(2048, 14, 10, 7)
    assert Shapes.from_metadata(shapes.as_metadata()) == shapes
    with pytest.raises(ConfigError, match="no usable shapes"):
        Shapes.from_metadata({"shapes.z_dim": "wide"})
