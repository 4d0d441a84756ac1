"""``rlt-ros bench replay``: batches per second from the durable ring, next to torchrl's memory-mapped buffer.

Both hold the same rows at the paper's size and are sampled in turn in one process on one core, so other load on the
machine affects both equally. Files are on the disk and in the page cache, as in training.
"""

from __future__ import annotations

import dataclasses
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rlt_ros.replay.ring import Replay
from rlt_ros.rlt.config import Shapes
from rlt_ros.rlt.transition import RowOutcome, Source, Window, lineage_id
from rlt_ros.store.lineage import Lineage

PAPER = Shapes(z_dim=2048, proprio_dim=14, chunk=10, action_dim=14)
ROWS = 20_000
STRIDE = 2
# 400 control steps, 8 s at 50 Hz: a medium critical phase of the paper.
EPISODE_ROWS = 200
LINEAGE = Lineage()
Z_STORAGES = ("float32", "float16")


def run(
    rounds: int = 30, batch_size: int = 256, reopen_rows: int = 200_000, threads: int = 1
) -> dict[str, Any]:
    """Measure sampling next to torchrl, appending, and opening a large replay.

    Args:
        rounds: turns of each contender, each of 20 batches; the first three are not counted.
        batch_size: rows of one batch.
        reopen_rows: rows of the replay that is filled and opened again; at 200,000 its file has 1.2 GB.
        threads: for each contender.

    Returns:
        ``samples_per_s``: rows per second by contender, on processor time; ``ratio_torchrl``: the ring over
        torchrl's buffer with the same float32 tokens, ``ratio_torchrl_float16`` with the half-precision
        default; ``row_bytes`` by contender; ``appends_per_s``; ``reopen_seconds``, ``reopen_rows``;
        ``milliseconds`` of one batch.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with tempfile.TemporaryDirectory(prefix="rlt-bench-") as folder:
            milliseconds, row_bytes = _sampling(Path(folder), rounds, batch_size)
            appends_per_s, reopen_seconds = _appending_and_reopening(Path(folder), reopen_rows)
    finally:
        torch.set_num_threads(before)
    return {
        "samples_per_s": {name: 1000 * batch_size / value for name, value in milliseconds.items()},
        "ratio_torchrl": milliseconds["torchrl"] / milliseconds["float32"],
        "ratio_torchrl_float16": milliseconds["torchrl"] / milliseconds["float16"],
        "row_bytes": row_bytes,
        "appends_per_s": appends_per_s,
        "reopen_seconds": reopen_seconds,
        "reopen_rows": reopen_rows,
        "milliseconds": milliseconds,
        "sizes": {**dataclasses.asdict(PAPER), "batch": batch_size, "replay_rows": ROWS},
        "threads": threads,
    }


def _sampling(folder: Path, rounds: int, batch_size: int) -> tuple[dict[str, float], dict[str, float]]:
    """Median processor milliseconds of one batch, and bytes per row, by contender."""
    rings = {name: _open(folder / name, ROWS, name) for name in Z_STORAGES}
    peer = _torchrl_buffer(folder / "torchrl", batch_size)
    for rows in _pieces(ROWS, EPISODE_ROWS):
        for ring in rings.values():
            ring.append(rows)
        peer.extend(_tensordict(rows))
    contenders: dict[str, Callable[[], Any]] = {
        "torchrl": peer.sample,
        "float32": lambda: rings["float32"].sample(batch_size),
        "float16": lambda: rings["float16"].sample(batch_size),
    }
    spent: dict[str, list[float]] = {name: [] for name in contenders}
    repeats = 20
    for _ in range(rounds):
        for name, sample in contenders.items():
            start = time.process_time()
            for _ in range(repeats):
                sample()
            spent[name].append((time.process_time() - start) / repeats * 1000)
    row_bytes = {name: ring.format.nbytes / ROWS for name, ring in rings.items()}
    row_bytes["torchrl"] = sum(file.stat().st_size for file in (folder / "torchrl").rglob("*.memmap")) / ROWS
    for ring in rings.values():
        ring.close()
    return {name: statistics.median(values[3:]) for name, values in spent.items()}, row_bytes


def _appending_and_reopening(folder: Path, rows: int) -> tuple[float, float]:
    path = folder / "large"
    spent = 0.0
    with _open(path, rows, "float16") as replay:
        for piece in _pieces(rows, EPISODE_ROWS):
            start = time.process_time()
            # One by one, as from a running robot.
            for window in piece:
                replay.append([window])
            spent += time.process_time() - start
    start = time.perf_counter()
    with _open(path, rows, "float16") as replay:
        seconds = time.perf_counter() - start
        stored = len(replay)
    assert stored == rows, f"{stored} of {rows} rows were read back"
    return rows / spent, seconds


def _open(path: Path, capacity: int, z_storage: str) -> Replay:
    return Replay.open(path, PAPER, capacity, gamma=0.99, lineage=LINEAGE, z_storage=z_storage)


def _pieces(count: int, size: int) -> Iterator[list[Window]]:
    """``count`` rows in episodes of ``size`` rows; the speed does not depend on their meaning."""
    random = np.random.default_rng(0)
    chunk, ahead = (PAPER.chunk, PAPER.action_dim), PAPER.chunk // STRIDE
    lineage, source = lineage_id(LINEAGE), np.full(PAPER.chunk, Source.ACTOR, np.uint8)

    def normal(*shape: int) -> np.ndarray[Any, np.dtype[np.float32]]:
        return random.standard_normal((size + ahead, *shape), dtype=np.float32)

    z, proprio, reference, action = (
        normal(PAPER.z_dim),
        normal(PAPER.proprio_dim),
        normal(*chunk),
        normal(*chunk),
    )
    for episode in range(-(-count // size)):
        # Distinguishes the episodes.
        z[:, 0] = episode
        yield [
            Window(
                episode=episode,
                step=row * STRIDE,
                z=z[row],
                proprio=proprio[row],
                reference=reference[row],
                action=action[row],
                reward=0.0,
                discount=0.9,
                next_z=z[row + ahead],
                next_proprio=proprio[row + ahead],
                next_reference=reference[row + ahead],
                valid=PAPER.chunk,
                next_valid=PAPER.chunk,
                terminated=False,
                truncated=False,
                outcome=RowOutcome.NONE,
                source=source,
                lineage=lineage,
            )
            for row in range(min(size, count - episode * size))
        ]


def _torchrl_buffer(folder: Path, batch_size: int) -> Any:
    from torchrl.data import LazyMemmapStorage, TensorDictReplayBuffer

    storage = LazyMemmapStorage(ROWS, scratch_dir=folder)
    return TensorDictReplayBuffer(storage=storage, batch_size=batch_size)


def _tensordict(rows: list[Window]) -> Any:
    """Fields of a :class:`~rlt_ros.rlt.batch.Batch`, as torchrl stores them."""
    from tensordict import TensorDict

    def stacked(name: str) -> torch.Tensor:
        return torch.from_numpy(np.stack([np.asarray(getattr(row, name)) for row in rows]))

    state = ("z", "proprio", "reference")
    now = (*state, "action", "reward", "discount", "valid", "next_valid", "terminated", "truncated", "human")
    fields: dict[str, Any] = {name: stacked(name) for name in now}
    fields["reward"], fields["discount"] = fields["reward"].float(), fields["discount"].float()
    fields["next"] = TensorDict({name: stacked(f"next_{name}") for name in state}, [len(rows)])
    return TensorDict(fields, [len(rows)])
