from __future__ import annotations

from pathlib import Path

from stream_source import GAMMA, LINEAGE, SHAPES, rows, stream

from rlt_ros.replay.recorder import ReplayRecorder
from rlt_ros.replay.ring import Replay
from rlt_ros.rlt.config import RLTConfig
from rlt_ros.robots.action_space import ActionSpace


def test_an_episode_that_is_over_is_not_cut_while_more_of_it_comes(tmp_path: Path) -> None:
    config = RLTConfig(chunk=SHAPES.chunk, gamma=GAMMA, replay_capacity=500, z_storage="float32")
    rejected: list[str] = []
    path = tmp_path / "replay.rlt"
    store = ReplayRecorder(
        path,
        config,
        joints=SHAPES.action_dim,
        action_encoder=ActionSpace,
        reject=lambda kind, reason: rejected.append(kind),
        patience=10.0,
    )
    robot, made = store.join(""), stream(1, steps=30)
    late = made.states[2:]
    for record in (*made.states[:2], *made.steps, made.end):
        store.add(robot, record)
    now = 0.0
    for record in late:  # each of them 9 s after the one before
        store.check_timeouts(now)
        now += 9.0
        store.check_timeouts(now)
        store.add(robot, record)
    store.close()
    assert rejected == []
    replay = Replay.attach(path, SHAPES, lineage=LINEAGE)
    assert len(replay) == len(rows(made)) > len(late)
    replay.close()
