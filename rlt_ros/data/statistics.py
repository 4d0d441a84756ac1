"""Statistics of data sets in LeRobot's form: minimum, maximum, mean, deviation and percentiles of every element."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rlt_ros.data.episode import Picture

QUANTILES = {"q01": 0.01, "q10": 0.10, "q50": 0.50, "q90": 0.90, "q99": 0.99}
PICTURES = 16
"""Images per episode; neighbouring images add no information."""

Stats = dict[str, NDArray[Any]]


def of_vectors(values: NDArray[Any]) -> Stats:
    """Statistics (N,) of vectors (T, N)."""
    values = np.asarray(values, np.float64).reshape(len(values), -1)
    stats = {
        "min": values.min(axis=0),
        "max": values.max(axis=0),
        "mean": values.mean(axis=0),
        "std": values.std(axis=0),
        "count": np.array([len(values)]),
    }
    return stats | dict(zip(QUANTILES, np.quantile(values, list(QUANTILES.values()), axis=0), strict=True))


def of_pictures(pictures: Iterable[Picture]) -> Stats:
    """Statistics (3, 1, 1) of the channels of images (h, w, 3), between 0 and 1."""
    # Every fourth row and column: means of images do not need every pixel.
    pixels = [picture[::4, ::4].reshape(-1, 3).astype(np.float64) / 255.0 for picture in pictures]
    stats = of_vectors(np.concatenate(pixels))
    shaped = {name: value.reshape(3, 1, 1) for name, value in stats.items() if name != "count"}
    return shaped | {"count": np.array([len(pixels)])}


def sampled(rows: int, limit: int = PICTURES) -> list[int]:
    """At most ``limit`` rows, evenly spread."""
    return sorted({round(index) for index in np.linspace(0, rows - 1, min(rows, limit))})


def pooled(stats: Sequence[Mapping[str, NDArray[Any]]]) -> Stats:
    """Statistics of several episodes together.

    Percentiles cannot be pooled exactly: these are means over the episodes, weighted by length, as in LeRobot. Use
    `of_vectors` if the rows are available.
    """
    counts = np.array([float(one["count"][0]) for one in stats])
    weights = counts / counts.sum()

    def mean(key: str) -> NDArray[Any]:
        return np.tensordot(weights, np.stack([one[key] for one in stats]), axes=1)

    middle = mean("mean")
    squares = np.stack([one["std"] ** 2 + (one["mean"] - middle) ** 2 for one in stats])
    return {
        "min": np.min([one["min"] for one in stats], axis=0),
        "max": np.max([one["max"] for one in stats], axis=0),
        "mean": middle,
        "std": np.sqrt(np.tensordot(weights, squares, axes=1)),
        "count": np.array([int(counts.sum())]),
        **{key: mean(key) for key in QUANTILES},
    }


def plain(stats: Mapping[str, Mapping[str, NDArray[Any]]]) -> dict[str, dict[str, Any]]:
    """Statistics as lists, for JSON."""
    return {key: {name: value.tolist() for name, value in one.items()} for key, one in stats.items()}


def arrays(stats: Mapping[str, Mapping[str, Any]]) -> dict[str, Stats]:
    """Inverse of `plain`."""
    return {key: {name: np.asarray(value) for name, value in one.items()} for key, one in stats.items()}
