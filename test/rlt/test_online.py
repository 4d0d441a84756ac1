"""The learner on a growing replay: the account follows from the rows alone, and a crash costs nothing but time."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from replay_rows import LINEAGE, SHAPES, episode_rows, open_replay

from rlt_ros.learning.checkpoint import import_actor, load_actor
from rlt_ros.learning.online import OnlineLearner
from rlt_ros.learning.pacing import UpdateDebt
from rlt_ros.replay.ring import Replay
from rlt_ros.rlt.config import RLTConfig
from rlt_ros.rlt.transition import Source
from rlt_ros.store.lineage import LineageError, fingerprint

CONFIG = RLTConfig(
    chunk=SHAPES.chunk,
    gamma=0.9,
    hidden=(16,),
    batch_size=16,
    warmup_episodes=2,
    warmup_updates=20,
    min_rows=8,
    utd=2.0,
    max_updates_per_cycle=10,
    compute="float32",
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    with open_replay(tmp_path / "replay.rlt"):
        return tmp_path


def online(folder: Path, config: RLTConfig = CONFIG, **options: int) -> OnlineLearner:
    replay = Replay.attach(folder / "replay.rlt", SHAPES, lineage=LINEAGE)
    return OnlineLearner(config, replay, folder / "learner.safetensors", **options)


def store(folder: Path, episode: int, *, success: bool, helped: bool = False) -> int:
    """Append an episode; a human acts in its first steps if `helped`."""
    rows = episode_rows(episode, 12, reward=1.0 if success else 0.0)
    if helped:
        rows[0] = dataclasses.replace(rows[0], source=np.full(SHAPES.chunk, Source.HUMAN, np.uint8))
    with open_replay(folder / "replay.rlt") as replay:
        return replay.append(rows)


def pay(learner: OnlineLearner) -> list[int]:
    """Pay everything; how many updates each measurement was made after."""
    return [measurement.updates for measurement in learner.train_slice(60.0)]


def test_nothing_is_learned_before_the_gate_opens(folder: Path) -> None:
    learner = online(folder)
    store(folder, 1, success=True)
    assert learner.count_new_rows() == 6
    pay(learner)
    assert learner.learner.critic_steps == 0 and not learner.acting
    assert learner.debt.waiting_for == "1 more episodes, 2 more rows, 1 more failures"


def test_warm_up_is_owed_when_it_opens_and_then_the_rate_for_each_row(folder: Path) -> None:
    learner = online(folder)
    store(folder, 1, success=True)
    store(folder, 2, success=False)
    learner.count_new_rows()
    pay(learner)
    assert learner.learner.critic_steps == 20 and learner.acting
    new = store(folder, 3, success=True)
    learner.count_new_rows()
    pay(learner)
    assert learner.learner.critic_steps == 20 + 2 * new


def test_the_account_does_not_depend_on_when_it_was_looked_at(folder: Path) -> None:
    often, once = online(folder), online(folder)
    for episode in range(1, 6):
        store(folder, episode, success=episode % 2 == 0)
        often.count_new_rows()
    once.count_new_rows()
    assert often.debt == once.debt
    expected = UpdateDebt.from_config(CONFIG)  # as the in-process trainer keeps it
    for episode in range(1, 6):
        expected.add_rows(6)
        expected.add_episode(success=episode % 2 == 0)
    assert once.debt == expected


def test_rows_that_the_writer_dropped_are_owed_again_when_they_come(folder: Path) -> None:
    store(folder, 1, success=True)
    store(folder, 2, success=False)
    learner = online(folder)
    learner.count_new_rows()
    pay(learner)
    learner.debt.rows += 4  # as if it had seen four rows more before a power failure
    assert learner.count_new_rows() == 0 and learner.debt.rows == 12 and learner.debt.owed == 0
    store(folder, 3, success=True)
    assert learner.count_new_rows() == 6 and learner.debt.owed == 12


def test_a_learner_that_was_killed_goes_on_from_its_checkpoint_to_the_bit(folder: Path) -> None:
    for episode in range(1, 4):
        store(folder, episode, success=episode % 2 == 0)
    whole, first = online(folder), online(folder)
    whole.count_new_rows()
    pay(whole)
    first.count_new_rows()
    for _ in first.train_slice(0.0):  # one update, in the middle of a debt
        pass
    first.save()
    for _ in first.train_slice(0.0):  # what came after the checkpoint is lost
        pass
    second = online(folder)
    second.count_new_rows()
    pay(second)
    assert second.debt == whole.debt
    assert fingerprint(second.learner.state()) == fingerprint(whole.learner.state())


def test_measurements_come_at_their_interval(folder: Path) -> None:
    store(folder, 1, success=True)
    store(folder, 2, success=False)
    learner = online(folder, metrics_every=8)
    learner.count_new_rows()
    assert pay(learner) == [8, 16]


def test_an_exported_actor_says_what_it_is_and_equals_that_of_the_checkpoint(folder: Path) -> None:
    store(folder, 1, success=True)
    store(folder, 2, success=False)
    learner = online(folder)
    learner.count_new_rows()
    pay(learner)
    learner.save()
    data, lineage, version = learner.export()
    sent = import_actor(data, shapes=SHAPES, lineage=LINEAGE)
    kept = load_actor(folder / "learner.safetensors", shapes=SHAPES, lineage=LINEAGE)
    assert (sent.version, sent.lineage) == (kept.version, kept.lineage) == (version, lineage) == (10, lineage)
    for one, other in zip(sent.actor.state_dict().values(), kept.actor.state_dict().values(), strict=True):
        torch.testing.assert_close(one, other)


def test_a_checkpoint_of_other_frozen_parts_is_refused(
    folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    learner = online(folder)
    learner.lineage = type(LINEAGE)(vla="other", token="t", stats="s")
    learner.save()
    with pytest.raises(LineageError, match="other"):
        online(folder)


def test_a_success_gated_beta_compares_the_actor_with_the_base_policy(folder: Path) -> None:
    config = RLTConfig(**{**CONFIG.__dict__, "beta_mode": "success"})
    learner = online(folder, config)
    for episode in (1, 2):
        store(folder, episode, success=episode == 1)
    learner.count_new_rows()
    pay(learner)
    assert float(learner.learner.success_factor) == 1.0  # the actor has not acted yet
    store(folder, 3, success=False)
    learner.count_new_rows()
    assert float(learner.learner.success_factor) == config.beta_span  # worse than the base: strongest pull
    learner.save()
    again = online(folder, config)
    store(folder, 4, success=True)
    again.count_new_rows()
    assert float(again.learner.success_factor) == 1.0  # one of two, as the base


def test_what_a_human_finished_is_no_success_for_a_success_gated_beta(folder: Path) -> None:
    config = RLTConfig(**{**CONFIG.__dict__, "beta_mode": "success", "min_failures": 0})
    learner = online(folder, config)
    store(folder, 1, success=True)
    store(folder, 2, success=True, helped=True)
    learner.count_new_rows()
    pay(learner)
    store(folder, 3, success=True, helped=True)
    learner.count_new_rows()
    assert float(learner.learner.success_factor) == config.beta_span  # none of one, and the base one of two
    store(folder, 4, success=True)
    learner.count_new_rows()
    assert float(learner.learner.success_factor) == 1.0  # one of two, as the base


def test_a_human_is_remembered_until_the_episode_ends_also_over_a_restart(folder: Path) -> None:
    config = RLTConfig(**{**CONFIG.__dict__, "beta_mode": "success"})
    first = online(folder, config)
    store(folder, 1, success=True)
    store(folder, 2, success=False)
    rows = episode_rows(3, 12, reward=1.0)
    rows[0] = dataclasses.replace(rows[0], source=np.full(SHAPES.chunk, Source.HUMAN, np.uint8))
    first.count_new_rows()
    pay(first)
    with open_replay(folder / "replay.rlt") as replay:
        replay.append(rows[:3])
        first.count_new_rows()
        first.save()
        replay.append(rows[3:])
    again = online(folder, config)
    again.count_new_rows()
    assert float(again.learner.success_factor) == config.beta_span
