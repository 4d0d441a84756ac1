"""The robot waits for a learner that is behind, and for nobody where none is."""

from __future__ import annotations

from rlt_ros.episodes.learning import LearningProgress, WaitConfig
from rlt_ros.episodes.plan import Kind


def progress(**config: int) -> LearningProgress:
    return LearningProgress(WaitConfig(**config))


def test_without_a_learner_nobody_waits() -> None:
    alone = progress()
    assert all(not alone.block_reason(kind, newest=7, now=0.0) for kind in Kind)


def test_training_waits_for_a_large_debt_only() -> None:
    behind = progress(max_debt=100)
    behind.learner_status(owed=100.0, busy=True, rows=5, version=1)
    assert "100" in behind.block_reason(Kind.TRAIN, newest=0, now=0.0)
    assert not behind.block_reason(Kind.EVAL_BASE, newest=0, now=0.0)
    behind.learner_status(owed=99.0, busy=True, rows=5, version=1)
    assert not behind.block_reason(Kind.TRAIN, newest=0, now=0.0)
    never = progress(max_debt=0)
    never.learner_status(owed=1e9, busy=True, rows=5, version=1)
    assert not never.block_reason(Kind.TRAIN, newest=0, now=0.0)


def test_training_waits_for_the_first_actor_once_it_is_being_made() -> None:
    here = progress()
    here.learner_status(owed=10.0, busy=False, rows=5, version=0)  # the gate is closed, or nothing is owed
    assert not here.block_reason(Kind.TRAIN, newest=0, now=0.0)
    here.learner_status(owed=10.0, busy=True, rows=5, version=0)
    assert "first actor" in here.block_reason(Kind.TRAIN, newest=0, now=0.0)
    here.learner_status(owed=10.0, busy=True, rows=5, version=1)
    assert not here.block_reason(Kind.TRAIN, newest=0, now=0.0)


def test_an_evaluation_waits_until_everything_is_learned() -> None:
    here = progress()
    here.replay_status(rows=10, newest=3)
    here.learner_status(owed=0.0, busy=False, rows=8, version=1)
    assert "episode 4" in here.block_reason(Kind.EVAL_RLT, newest=4, now=0.0)
    here.replay_status(rows=12, newest=4)
    assert "8 of 12" in here.block_reason(Kind.EVAL_RLT, newest=4, now=0.0)
    here.learner_status(owed=7.0, busy=True, rows=12, version=1)
    assert "owes 7" in here.block_reason(Kind.EVAL_RLT, newest=4, now=0.0)
    here.learner_status(owed=1.0, busy=False, rows=12, version=1)
    assert not here.block_reason(Kind.EVAL_RLT, newest=4, now=0.0)


def test_an_episode_that_never_reaches_the_replay_is_given_up() -> None:
    here = progress(replay_patience=30)
    here.replay_status(rows=10, newest=3)
    here.learner_status(owed=0.0, busy=False, rows=10, version=1)
    assert here.block_reason(Kind.EVAL_RLT, newest=4, now=100.0)
    assert here.block_reason(Kind.EVAL_RLT, newest=4, now=129.0)
    assert not here.block_reason(Kind.EVAL_RLT, newest=4, now=131.0)


def test_the_end_of_a_plan_waits_for_the_replay_though_nobody_learns() -> None:
    alone = progress(replay_patience=30)
    assert "episode 1" in alone.missing_episode(newest=1, now=0.0)  # the replay has not even been made
    alone.replay_status(rows=10, newest=1)
    assert not alone.missing_episode(newest=1, now=1.0)
    assert "episode 2" in alone.missing_episode(newest=2, now=2.0)
    assert not alone.missing_episode(newest=2, now=33.0)
