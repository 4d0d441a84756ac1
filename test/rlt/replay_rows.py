"""Rows for the replay's tests: episodes through the real window builder, and rows that betray a torn copy."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from rlt_ros.replay.ring import Replay
from rlt_ros.rlt.batch import Batch
from rlt_ros.rlt.config import Shapes
from rlt_ros.rlt.windows import ExecutedStep, RLState, RowOutcome, Source, Window, WindowBuilder, lineage_id
from rlt_ros.store.lineage import Lineage

SHAPES = Shapes(z_dim=8, proprio_dim=4, chunk=4, action_dim=3)
LINEAGE = Lineage(vla="v", token="t", stats="s")
STRIDE = 2


def open_replay(
    path: Path, capacity: int = 100, z_storage: str = "float32", shapes: Shapes = SHAPES
) -> Replay:
    return Replay.open(path, shapes, capacity, gamma=0.9, lineage=LINEAGE, z_storage=z_storage)


def episode_rows(
    episode: int,
    steps: int,
    *,
    terminated: bool = True,
    reward: float = 0.0,
    sources: Sequence[Source] = (Source.ACTOR,),
) -> list[Window]:
    """All windows of a random episode; the sources repeat."""
    rng = np.random.default_rng(episode)

    def state(step: int) -> RLState:
        shapes = ((8,), (4,), (4, 3), (3,))
        return RLState(step, *(rng.normal(size=shape).astype(np.float32) for shape in shapes))

    builder = WindowBuilder(
        SHAPES,
        lambda anchor, targets: targets - anchor,
        episode=episode,
        lineage=lineage_id(LINEAGE),
        stride=STRIDE,
        gamma=0.9,
    )
    windows: list[Window] = []
    for step in range(steps):
        if step % STRIDE == 0:
            windows += builder.add_state(state(step))
        command = rng.normal(size=3).astype(np.float32)
        windows += builder.add_step(ExecutedStep(step, command, sources[step % len(sources)]))
    return windows + builder.finish(terminated=terminated, reward=reward, final_state=state(steps))


def patterned_row(number: int, shapes: Shapes = SHAPES) -> Window:
    """Row ``number`` of an endless episode. All values follow from the number, so a mix of two rows shows."""
    chunk = (shapes.chunk, shapes.action_dim)

    def state(of: int) -> list[np.ndarray]:
        sizes = ((shapes.z_dim,), (shapes.proprio_dim,), chunk)
        return [np.full(size, of % 2039, np.float32) for size in sizes]

    z, proprio, reference = state(number)
    next_z, next_proprio, next_reference = state(number + shapes.chunk // STRIDE)
    return Window(
        episode=0,
        step=number * STRIDE,
        z=z,
        proprio=proprio,
        reference=reference,
        action=np.full(chunk, number % 2039, np.float32),
        reward=float(number % 2039),
        discount=0.5,
        next_z=next_z,
        next_proprio=next_proprio,
        next_reference=next_reference,
        valid=shapes.chunk,
        next_valid=shapes.chunk,
        terminated=False,
        truncated=False,
        outcome=RowOutcome.NONE,
        source=np.full(shapes.chunk, Source.ACTOR, np.uint8),
        lineage=lineage_id(LINEAGE),
    )


def assert_whole(batch: Batch, shapes: Shapes = SHAPES) -> None:
    """Every row of a batch of patterned rows is of one piece."""
    number = batch.reward[:, None]
    following = (number + shapes.chunk // STRIDE) % 2039
    for name in ("z", "proprio", "reference", "action"):
        assert bool((getattr(batch, name).float().flatten(1) == number).all()), name
    for name in ("next_z", "next_proprio", "next_reference"):
        assert bool((getattr(batch, name).float().flatten(1) == following).all()), name


def assert_same_rows(replay: Replay, expected: Iterable[Window]) -> None:
    """The replay holds exactly these rows, in this order."""
    expected = list(expected)
    assert len(replay) == len(expected)
    for index, window in enumerate(expected):
        stored = replay.window(index)
        for field in dataclasses.fields(Window):
            np.testing.assert_allclose(
                getattr(stored, field.name), getattr(window, field.name), rtol=1e-6, err_msg=field.name
            )


def wide(z_dim: int) -> Shapes:
    """The tests' shapes with a token of another width."""
    return dataclasses.replace(SHAPES, z_dim=z_dim)
