"""Inputs and outputs of a learner: bad batches, checkpoints, exported actors, metrics."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from learner_batches import CONFIG, LINEAGE, SHAPES, make_batch, make_learner

from rlt_ros.learning.checkpoint import (
    CheckpointError,
    export_actor,
    import_actor,
    load_learner,
    save_learner,
)
from rlt_ros.rlt.batch import FIELDS, BatchError
from rlt_ros.rlt.config import RLTConfig
from rlt_ros.rlt.learner import Learner, NonFiniteError
from rlt_ros.store.lineage import Lineage, LineageError
from rlt_ros.store.parameters import ConfigError
from rlt_ros.store.storage import ChecksumError, StorageError, TruncatedError


def test_metrics_are_tensors_with_stable_names() -> None:
    learner = make_learner()
    metrics = learner.update(make_batch(32))
    assert metrics.keys() == {
        "critic_loss", "q", "td_target", "td_error", "disagreement", "critic_grad_norm",
        "actor_loss", "actor_q", "bc", "beta", "actor_grad_norm",
    }  # fmt: skip
    assert all(value.shape == () and not value.requires_grad for value in metrics.values())


@pytest.mark.parametrize("field", ["reward", "z", "next_reference", "action"])
def test_nan_changes_no_weight_and_is_named_when_looked_for(field: str) -> None:
    learner = make_learner()
    batch = make_batch(32)
    getattr(batch, field)[3::16] = float("nan")  # one in the rows of each step
    before = {name: value.clone() for name, value in learner.critics.state_dict().items()}
    target = {name: value.clone() for name, value in learner.target_critics.state_dict().items()}
    learner.update(batch)
    assert all(torch.equal(value, before[name]) for name, value in learner.critics.state_dict().items())
    assert all(
        torch.equal(value, target[name]) for name, value in learner.target_critics.state_dict().items()
    )
    assert all(torch.isfinite(value).all() for value in learner.actor.body.parameters())
    with pytest.raises(BatchError, match=f"`{field}` holds NaN or infinity, first in row 3"):
        learner.check(batch)


def test_refused_updates_of_earlier_batches_are_reported() -> None:
    learner = make_learner()
    good = make_batch(32)
    learner.check(good)
    learner.update(make_batch(32, reward=torch.full((32,), float("inf"))))
    with pytest.raises(NonFiniteError, match="2 critic and 0 actor steps were skipped"):
        learner.check(good)


def test_learning_goes_on_after_a_refused_update() -> None:
    learner = make_learner()
    learner.update(make_batch(32, reward=torch.full((32,), float("nan"))))
    before = learner.critics.body.token_weight.clone()
    assert torch.isfinite(learner.update(make_batch(32))["critic_loss"])
    assert not torch.equal(before, learner.critics.body.token_weight)


def test_a_field_of_wrong_shape_is_named() -> None:
    learner = make_learner()
    for field in FIELDS:
        wrong = dataclasses.replace(make_batch(32), **{field: torch.zeros(32, 99)})
        with pytest.raises(BatchError, match="has shape"):
            learner.update(wrong)
    with pytest.raises(BatchError, match=r"`action` has shape \(32, 4, 3\), expected \(32, 4, 2\)"):
        learner.update(dataclasses.replace(make_batch(32), action=torch.zeros(32, 4, 3)))
    with pytest.raises(ValueError, match="the batch has 31 rows; an update takes 32"):
        learner.update(make_batch(31))


def test_horizons_out_of_range_are_named() -> None:
    with pytest.raises(BatchError, match="`valid` runs from 0 to 4, expected 1 to 4"):
        make_batch(3, valid=torch.tensor([0, 2, 4])).check_values()
    make_batch(3, next_valid=torch.tensor([0, 2, 4])).check_values()


def test_a_chunk_that_shapes_and_configuration_disagree_on_is_refused() -> None:
    with pytest.raises(ConfigError, match="`chunk` is 10, but the shapes have 4"):
        Learner(RLTConfig(), SHAPES)


@pytest.mark.parametrize(
    "changes", [{}, {"target_actor": True, "beta_mode": "disagreement"}, {"compute": "bfloat16"}]
)
def test_a_resumed_learner_makes_the_same_updates_to_the_bit(
    tmp_path: Path, changes: dict[str, object]
) -> None:
    learner = make_learner(**changes)
    learner.fit_scale(make_batch(100, seed=9))
    for seed in range(3):
        learner.update(make_batch(32, seed=seed))
    learner.report_success(0.2, 0.3)
    save_learner(tmp_path / "x", learner, lineage=LINEAGE, extra={"episode": "12"})
    resumed = make_learner(**changes)
    assert load_learner(tmp_path / "x", resumed, lineage=LINEAGE) == {"episode": "12"}
    for seed in range(3, 6):
        mine, theirs = learner.update(make_batch(32, seed=seed)), resumed.update(make_batch(32, seed=seed))
        assert all(torch.equal(value, theirs[name]) for name, value in mine.items())
    assert all(torch.equal(value, resumed.state()[name]) for name, value in learner.state().items())
    assert torch.equal(torch.rand(3, generator=learner.sampling), torch.rand(3, generator=resumed.sampling))


def test_a_checkpoint_that_does_not_fit_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "x"
    learner = make_learner()
    learner.update(make_batch(32))
    save_learner(path, learner, lineage=LINEAGE)
    fresh = make_learner()
    before = {name: value.clone() for name, value in fresh.state().items()}
    with pytest.raises(LineageError, match="token is `token` there and `other` here"):
        load_learner(path, fresh, lineage=Lineage("vla", "other", "stats"))
    wide = Learner(CONFIG, dataclasses.replace(SHAPES, z_dim=13))
    with pytest.raises(CheckpointError, match=r"z_dim=12.*need.*z_dim=13"):
        load_learner(path, wide, lineage=LINEAGE)
    with pytest.raises(CheckpointError, match="use the `hidden` of the file"):
        load_learner(path, make_learner(hidden=(32, 16)), lineage=LINEAGE)
    with pytest.raises(CheckpointError, match="target_actor"):
        load_learner(path, make_learner(target_actor=True), lineage=LINEAGE)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(TruncatedError):
        load_learner(path, fresh, lineage=LINEAGE)
    assert all(torch.equal(value, before[name]) for name, value in fresh.state().items())


def test_an_exported_actor_acts_like_the_learners() -> None:
    learner = make_learner()
    learner.fit_scale(make_batch(100, seed=9))
    learner.update(make_batch(32))
    update = import_actor(export_actor(learner, lineage=LINEAGE), shapes=SHAPES, lineage=LINEAGE)
    batch = make_batch(7)
    expected = learner.actor.act(batch.z, batch.proprio, batch.reference)
    torch.testing.assert_close(update.actor.act(batch.z, batch.proprio, batch.reference), expected)
    assert update.version == 1
    assert update.lineage.vla == "vla"
    assert len(update.lineage.actor) == 16


def test_a_policy_update_that_does_not_fit_is_refused() -> None:
    data = export_actor(make_learner(), lineage=LINEAGE)
    with pytest.raises(LineageError, match="policy update was made by other parts: stats"):
        import_actor(data, shapes=SHAPES, lineage=Lineage("vla", "token", "others"))
    with pytest.raises(CheckpointError, match=r"action_dim=2.*need.*action_dim=7"):
        import_actor(data, shapes=dataclasses.replace(SHAPES, action_dim=7), lineage=LINEAGE)
    with pytest.raises(StorageError):
        import_actor(data[:-5], shapes=SHAPES, lineage=LINEAGE)
    broken = bytearray(data)
    broken[-1] ^= 255
    with pytest.raises(ChecksumError):
        import_actor(bytes(broken), shapes=SHAPES, lineage=LINEAGE)
