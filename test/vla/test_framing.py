"""Messages of the network: what openpi frames comes through, and nothing is ever unpickled."""

from __future__ import annotations

import contextlib
import pickle
from typing import Any

import msgpack
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from rlt_ros.vla.wire import WireError, pack, unpack

LIMIT = 2**20
NUMBERS = st.sampled_from(["<f4", "<f8", "|u1", "<i8", "|b1", "<f2"])


@given(
    NUMBERS.flatmap(lambda kind: arrays.arrays(kind, arrays.array_shapes(min_dims=0, max_dims=4, min_side=0)))
)
def test_an_array_comes_back_with_its_type_and_shape(value: np.ndarray) -> None:
    back = unpack(pack({"images": {"head": value}}), limit=LIMIT)["images"]["head"]
    assert back.dtype == value.dtype
    assert back.shape == value.shape
    np.testing.assert_array_equal(back, value)


def test_bytes_are_those_of_openpis_own_code() -> None:
    # Made by openpi-client 0.1.2, msgpack_numpy.packb: {"state": np.array([1.5], np.float32), "n": np.int64(3)}.
    golden = bytes.fromhex(
        "82a5737461746584c40b5f5f6e6461727261795f5fc3c40464617461c4040000c03fc4056474797065a33c6634c4057368617065"
        "9101a16e83c40d5f5f6e7067656e657269635f5fc3c4046461746103c4056474797065a33c6938"
    )
    message = unpack(golden, limit=LIMIT)
    np.testing.assert_array_equal(message["state"], np.array([1.5], np.float32))
    assert message["n"] == 3
    assert pack({"state": np.array([1.5], np.float32), "n": np.int64(3)}) == golden


def _array(**fields: Any) -> bytes:
    whole = {"__ndarray__": True, "data": b"\0" * 8, "dtype": "<f4", "shape": [2], **fields}
    packed: bytes = msgpack.packb({key.encode(): value for key, value in whole.items()})
    return packed


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (pickle.dumps({"actions": [1.0]}), "no msgpack"),
        (pack({"state": np.zeros(100)})[:-1], "cut off"),
        (pack({"a": 1}) + b"\x01", "no msgpack"),
        (b"", "no msgpack"),
        ("text", "text where bytes"),
        (_array(dtype="O", data=pickle.dumps([1])), "nothing is unpickled"),
        (_array(dtype="V8"), "only numbers"),
        (_array(dtype="<f4,<f4"), "only numbers"),
        (_array(dtype=7), "only numbers"),
        (_array(shape=[3]), "damaged"),
        (_array(shape=[-2]), "whole numbers"),
        (_array(shape=[2**40, 2**40]), "whole numbers from 0"),
        (_array(shape="2"), "whole numbers"),
        (_array(data="text"), "damaged"),
        (msgpack.packb(msgpack.ExtType(5, b"x")), "extension of msgpack"),
        (b"\xdd\xff\xff\xff\xff", "more than 65536 items"),
        (b"\x91" * 5000, "nested more than 16"),
        (b"\0" * (LIMIT + 1), "at most"),
    ],
)
def test_what_may_not_travel_is_refused(data: bytes | str, message: str) -> None:
    with pytest.raises(WireError, match=message):
        unpack(data, limit=LIMIT)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_message_or_an_error(data: bytes) -> None:
    with contextlib.suppress(WireError):
        unpack(data, limit=LIMIT)


@pytest.mark.parametrize("value", [np.array([object()]), {1, 2}, np.array(["text"])])
def test_objects_are_not_sent(value: object) -> None:
    with pytest.raises(WireError, match="cannot be sent"):
        pack({"value": value})
