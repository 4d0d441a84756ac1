from __future__ import annotations

import pytest
import torch

from rlt_ros.store.lineage import Lineage, LineageError, fingerprint


def test_a_fingerprint_depends_on_names_types_shapes_and_values_only() -> None:
    a, b = torch.arange(6.0), torch.ones(2, dtype=torch.bfloat16)
    same = fingerprint({"a": a, "b": b})
    assert fingerprint({"b": b.clone(), "a": a}) == same
    assert fingerprint({"a": a.view(2, 3).t().contiguous().t().reshape(6), "b": b}) == same
    others = [
        {"a": a},
        {"a": a, "c": b},
        {"a": a.view(2, 3), "b": b},
        {"a": a.int(), "b": b},
        {"a": a + 1, "b": b},
    ]
    assert len({same, *(fingerprint(other) for other in others)}) == 6


def test_a_fingerprint_is_the_same_everywhere() -> None:
    assert fingerprint(b"abc") == "ba7816bf8f01cfea"
    assert fingerprint({"w": torch.tensor([1.0, 2.0])}) == fingerprint({"w": torch.tensor([1.0, 2.0])})
    assert fingerprint({"empty": torch.zeros(0)}) != fingerprint({"empty": torch.zeros(1)})


def test_other_frozen_parts_are_refused_by_name() -> None:
    here, there = Lineage("v1", "t1", "s1", "a1"), Lineage("v1", "t2", "s1", "a9")
    with pytest.raises(
        LineageError, match=r"replay\.bin was made by other parts: token is `t2` there and `t1` here"
    ):
        here.require_same(there, what="replay.bin")


def test_another_actor_is_accepted_unless_asked_for() -> None:
    here, there = Lineage("v", "t", "s", "a1"), Lineage("v", "t", "s", "a2")
    here.require_same(there, what="x")
    with pytest.raises(LineageError, match="actor"):
        here.require_same(there, what="x", parts=("actor",))


def test_lineage_survives_metadata() -> None:
    lineage = Lineage("v", "t", "s", "a")
    assert Lineage.from_metadata({**lineage.as_metadata(), "other": "x"}) == lineage
    with pytest.raises(LineageError, match=r"lineage\.vla"):
        Lineage.from_metadata({})
