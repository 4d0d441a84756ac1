"""Bytes and hashes, beside those that ROS 2 Jazzy made (test/data/golden)."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("cyclonedds")

from rosbags.interfaces import Nodetype

from rlt_ros.middleware.dds.definitions import type_hash, type_store
from rlt_ros.middleware.dds.message import (
    MalformedMessage,
    deserialize_message,
    message_class,
    serialize_message,
)

GOLDEN = Path(__file__).resolve().parents[2] / "data" / "golden"
CASES = json.loads((GOLDEN / "cdr_jazzy.json").read_text())["cases"]
HASHES = json.loads((GOLDEN / "type_hashes_jazzy.json").read_text())["rihs01"]


def built(name: str, values: dict[str, Any]) -> Any:
    """The message that golden ``values`` describe."""
    fields = type_store().fielddefs[name][1]
    return message_class(name)(**{field: value_of(kind, values[field]) for field, kind in fields})


def value_of(definition: Any, value: Any) -> Any:
    kind, detail = definition
    if kind == Nodetype.NAME:
        return built(detail, value)
    if kind == Nodetype.BASE:
        if detail[0] == "byte":
            return value.encode("latin1")
        return float(value) if detail[0].startswith("float") else value
    return [value_of(detail[0], item) for item in value]


@pytest.mark.parametrize("case", CASES, ids=[f"{i}-{case['type']}" for i, case in enumerate(CASES)])
def test_bytes_are_those_of_ros(case: dict[str, Any]) -> None:
    message = built(case["type"], case["value"])
    assert serialize_message(message).hex() == case["cdr_hex"]
    assert deserialize_message(bytes.fromhex(case["cdr_hex"]), type(message)) == message


@pytest.mark.parametrize("name", HASHES)
def test_type_hash_is_that_of_ros(name: str) -> None:
    assert type_hash(name) == HASHES[name]


def test_layout_follows_the_rules_of_cdr() -> None:
    state = message_class("rlt_ros/msg/RLState")(
        run_id="r", episode=1, step=2, z=[0.5], reference=[], anchor=[1.5]
    )
    state.header.frame_id = "ab"
    expected = struct.pack(
        "<4B iI I3sx I2sxx Q I I1sxxx I1sxxx I1sxxx I1sxxx If I I If I".replace(" ", ""),
        *(0, 1, 0, 0),  # encapsulation: little-endian CDR; alignment counts from behind it
        *(0, 0),
        # A string has its length with the final zero; the next number begins at a multiple of its size.
        *(3, b"ab\0"),
        *(2, b"r\0"),
        1,
        2,
        *(1, b"\0") * 4,
        *(1, 0.5),
        0,
        0,
        *(1, 1.5),
        0,
    )
    assert serialize_message(state) == expected


def test_big_endian_is_read() -> None:
    data = bytes.fromhex("00000000") + struct.pack(">I6s", 6, b"hello\0")
    assert deserialize_message(data, message_class("std_msgs/msg/String")).data == "hello"


@pytest.mark.parametrize("name", ["sensor_msgs/msg/JointState", "rlt_ros/msg/ExecutedStep"])
@given(data=st.data())
def test_damaged_bytes_are_malformed_or_another_message(name: str, data: st.DataObject) -> None:
    cls = message_class(name)
    message = cls()
    good = bytearray(serialize_message(message))
    for _ in range(data.draw(st.integers(1, 4))):
        good[data.draw(st.integers(0, len(good) - 1))] = data.draw(st.integers(0, 255))
    damaged = bytes(good[: data.draw(st.integers(0, len(good)))])
    try:
        assert isinstance(deserialize_message(damaged, cls), cls)
    except MalformedMessage as error:
        assert name in str(error)


def test_rare_kinds_of_fields_survive() -> None:
    value = message_class("rcl_interfaces/msg/ParameterValue")(
        bool_array_value=[True, False], byte_array_value=[b"\xff", b"\0"], string_array_value=["a", "ü"]
    )
    assert deserialize_message(serialize_message(value), type(value)) == value
    info = message_class("sensor_msgs/msg/CameraInfo")(k=[float(i) for i in range(9)])
    back = deserialize_message(serialize_message(info), type(info))
    assert back == info
    back.k[0] = 5.0  # not a view of the received bytes
    with pytest.raises(ValueError, match="9"):
        info.k = [1.0]
