"""Validation of policy updates."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from replay_rows import LINEAGE, SHAPES

from rlt_ros.learning.checkpoint import CheckpointError, export_actor
from rlt_ros.learning.policy_validator import PolicyRefused, PolicyValidator
from rlt_ros.rlt.config import RLTConfig
from rlt_ros.rlt.learner import Learner
from rlt_ros.store.lineage import Lineage, LineageError, fingerprint
from rlt_ros.store.storage import StorageError

CONFIG = RLTConfig(chunk=SHAPES.chunk, hidden=(8,), compute="float32")


def sent(
    version: int = 3, *, lineage: Lineage = LINEAGE, seed: int = 0, stamp: int = 10, **shapes: int
) -> dict[str, Any]:
    """Policy update as sent by a learner."""
    learner = Learner(CONFIG, dataclasses.replace(SHAPES, **shapes), seed=seed)
    learner.actor_steps = version
    actor = fingerprint(learner.actor.state_dict())
    return {
        "data": export_actor(learner, lineage=lineage),
        "version": version,
        "lineage": dataclasses.replace(lineage, actor=actor),
        "stamp": stamp,
    }


@pytest.fixture
def validator() -> PolicyValidator:
    validator = PolicyValidator(SHAPES, LINEAGE)
    validator.accept(**sent(3))
    return validator


def test_a_newer_actor_takes_the_place_of_the_old(validator: PolicyValidator) -> None:
    assert validator.accept(**sent(4, seed=1, stamp=11)) is validator.current
    assert validator.current is not None and validator.current.version == 4


def test_of_two_with_the_same_version_the_one_sent_later_acts(validator: PolicyValidator) -> None:
    assert validator.accept(**sent(3, seed=1, stamp=11)) is validator.current


@pytest.mark.parametrize(
    ("message", "error"),
    [
        (lambda: sent(3), PolicyRefused),
        (lambda: sent(2, stamp=9), PolicyRefused),
        (lambda: sent(2, stamp=11), PolicyRefused),
        (lambda: {**sent(4, stamp=11), "version": 5}, PolicyRefused),
        (lambda: {**sent(4, stamp=11), "lineage": dataclasses.replace(LINEAGE, actor="x")}, PolicyRefused),
        (lambda: sent(4, stamp=11, lineage=dataclasses.replace(LINEAGE, token="other")), LineageError),
        (lambda: sent(4, stamp=11, z_dim=9), CheckpointError),
        (lambda: {**sent(4, stamp=11), "data": b"garbage"}, StorageError),
        (lambda: {**sent(4, stamp=11), "data": sent(4)["data"][:-9]}, StorageError),
        (lambda: {**sent(4, stamp=11), "data": sent(4)["data"][:-1] + b"\xff"}, StorageError),
    ],
    ids=[
        "again", "older", "older, sent later", "other version", "other actor", "other token", "other size", "garbage",
        "cut", "damaged",
    ],
)  # fmt: skip
def test_what_is_refused_leaves_the_old_one(
    validator: PolicyValidator, message: Any, error: type[Exception]
) -> None:
    before = validator.current
    with pytest.raises(error):
        validator.accept(**message())
    assert validator.current is before


def test_weights_that_are_no_numbers_are_refused(validator: PolicyValidator) -> None:
    learner = Learner(CONFIG, SHAPES)
    learner.actor_steps = 4
    with torch.no_grad():
        next(learner.actor.parameters())[0, 0] = torch.nan
    lineage = dataclasses.replace(LINEAGE, actor=fingerprint(learner.actor.state_dict()))
    with pytest.raises(PolicyRefused, match="NaN"):
        validator.accept(export_actor(learner, lineage=LINEAGE), version=4, lineage=lineage, stamp=11)
