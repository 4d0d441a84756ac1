from __future__ import annotations

import array
import re
from pathlib import Path

import numpy as np
import pytest

from rlt_ros.middleware import deserialize_message, messages, serialize_message
from rlt_ros.middleware.arrays import pack, unpack
from rlt_ros.middleware.messages import (
    ActionChunk,
    DiagnosticStatus,
    EpisodeState,
    ExecutedStep,
    Header,
    Image,
    Joy,
    Lineage,
    Observation,
    Pose,
    RLState,
    String,
    UnknownMessageType,
    message_type,
    type_name,
)
from rlt_ros.rlt.transition import Source
from rlt_ros.store import lineage

ROOT = Path(__file__).resolve().parents[2]


def test_every_listed_message_exists() -> None:
    for package, names in messages._PACKAGES.items():
        for name in names:
            assert type_name(getattr(messages, name)) == f"{package}/msg/{name}"


def test_every_message_of_this_package_is_listed_and_built() -> None:
    files = {path.stem for path in (ROOT / "msg").glob("*.msg")}
    built = re.findall(r"msg/(\w+)\.msg", (ROOT / "CMakeLists.txt").read_text())
    assert files == set(messages._PACKAGES["rlt_ros"]) == set(built)


def test_every_field_of_this_package_says_what_it_is() -> None:
    for path in (ROOT / "msg").glob("*.msg"):
        lines = path.read_text().splitlines()
        assert lines[0].startswith("# ")
        for line in lines:
            if re.match(r"(float|u?int)\w*\[", line):
                assert re.search(r"# \(.*\)|# safetensors", line), f"{path.name}: no shape: {line}"


@pytest.mark.parametrize("cls", [ActionChunk, ExecutedStep])
def test_sources_are_those_of_the_replay(cls: type) -> None:
    assert {name: getattr(cls, f"SOURCE_{name}") for name in Source.__members__} == Source.__members__


def test_lineage_has_the_parts_of_the_replay() -> None:
    assert set(Lineage.get_fields_and_field_types()) == {"vla", "token", "stats", "actor"}
    assert lineage.Lineage(**{name: name for name in Lineage.get_fields_and_field_types()}).vla == "vla"


def test_a_state_survives_the_wire() -> None:
    reference = np.arange(20, dtype=np.float32).reshape(10, 2) / 7
    state = RLState(episode=2**40, step=7, z=pack(np.ones(5, np.float32)), reference=pack(reference))
    state.header.stamp.sec = 3
    state.lineage.vla = "0123456789abcdef"
    back = deserialize_message(serialize_message(state), RLState)
    assert back == state
    np.testing.assert_array_equal(unpack(back.reference, (10, 2), name="reference"), reference)


def test_an_observation_holds_images() -> None:
    image = Image(height=2, width=2, encoding="rgb8", step=6, data=pack(np.arange(12, dtype=np.uint8)))
    observation = Observation(cameras=["head"], images=[image], position=[0.5, 1.0])
    back = deserialize_message(serialize_message(observation), Observation)
    assert back.images[0].data.tolist() == list(range(12))
    assert back.position.tolist() == [0.5, 1.0]


def test_new_messages_share_nothing() -> None:
    one, other = Header(), Header()
    one.stamp.sec = 5
    assert other.stamp.sec == 0
    assert Joy().axes is not Joy().axes


def test_defaults_are_those_of_the_definition() -> None:
    assert Pose().orientation.w == 1.0
    assert String().data == ""


def test_a_byte_is_bytes() -> None:
    status = DiagnosticStatus(level=DiagnosticStatus.ERROR)
    assert status.level == b"\x02"
    assert DiagnosticStatus(level=status.level).level == b"\x02"
    assert deserialize_message(serialize_message(status), DiagnosticStatus).level == b"\x02"


def test_sequences_of_numbers_are_arrays() -> None:
    joy = Joy(axes=[0.5, -1.0], buttons=(1, 0))
    assert isinstance(joy.axes, array.array)
    assert (joy.axes.typecode, joy.buttons.typecode) == ("f", "i")


@pytest.mark.parametrize(
    ("cls", "field", "value"),
    [
        (String, "data", 3),
        (Header, "stamp", 3),
        (EpisodeState, "phase", 256),
        (EpisodeState, "phase", -1),
        (EpisodeState, "phase", 1.0),
        (EpisodeState, "reward", 1),
        (EpisodeState, "reward", 1e39),
        (Joy, "axes", "0.5"),
        (Joy, "axes", [1, 2]),
        (Joy, "buttons", [2**31]),
        (Observation, "images", ["picture"]),
        (DiagnosticStatus, "level", b"ab"),
    ],
)
def test_a_value_of_another_type_is_refused(cls: type, field: str, value: object) -> None:
    with pytest.raises((TypeError, ValueError, AssertionError, OverflowError)):
        setattr(cls(), field, value)


def test_a_field_that_is_not_there_is_refused() -> None:
    with pytest.raises((AttributeError, AssertionError)):
        String(text="x")


@pytest.mark.parametrize("name", ["std_msgs/msg/Strong", "nowhere_msgs/msg/X", "String", "a/b/c/d"])
def test_an_unknown_type_is_named(name: str) -> None:
    with pytest.raises(UnknownMessageType, match=name):
        message_type(name)


@pytest.mark.parametrize("dtype", ["float32", "float64", "uint8", "int32", "uint32"])
def test_arrays_come_back(dtype: str) -> None:
    values = np.arange(12).astype(dtype).reshape(3, 4)
    back = unpack(pack(values.T), (4, 3), name="x")
    np.testing.assert_array_equal(back, values.T)
    assert back.dtype == values.dtype
    back[0, 0] = 5


def test_an_empty_array_comes_back() -> None:
    assert unpack(pack(np.zeros((0, 7), np.float32)), (0, 7), name="x").shape == (0, 7)


def test_an_array_of_another_type_is_refused() -> None:
    with pytest.raises(TypeError, match="int64"):
        pack(np.arange(3, dtype=np.int64))


def test_an_array_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match=r"`anchor` holds 3 values, expected 7"):
        unpack(array.array("f", [1, 2, 3]), (7,), name="anchor")
