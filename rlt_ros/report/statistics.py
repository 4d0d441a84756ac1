"""Success rates, steps and throughput with two-sided confidence intervals. Pure NumPy.

An *episode* here is one critical phase with a success flag and a number of control steps. Throughput, the paper's
measure for production, is the number of successes in 10 minutes of critical-phase robot time.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from statistics import NormalDist
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

CONTROL_HZ = 50.0
"""Control rate of robot and simulator, 1/s."""

CONFIDENCE = 0.95
RESAMPLES = 10_000
"""Resamples of a bootstrap: the bounds repeat to about 1 % of the interval's width."""

FloatArray = npt.NDArray[np.float64]


class StatisticsError(ValueError):
    """Insufficient data for a statistic; the message names the missing part."""


class Interval(NamedTuple):
    """Bounds of a confidence interval."""

    low: float
    high: float


@dataclass(frozen=True)
class SuccessStats:
    """Success statistics of one policy; `as_dict` is their form in ``summary.json``."""

    success_rate: float
    success_ci: Interval
    median_steps: float | None
    """Median control steps of the successes; None without a success."""
    median_steps_ci: Interval | None
    throughput_per_10min: float
    throughput_ci: Interval
    successes: int
    episodes: int

    def as_dict(self) -> dict[str, Any]:
        """Statistics as plain values for JSON."""
        return asdict(self)


def as_long_as_a_timeout(steps: Sequence[int]) -> list[int]:
    """Control steps per episode; a failed approach, 0, counts as the longest of them, or 1."""
    longest = max(steps, default=0) or 1
    return [taken or longest for taken in steps]


def summarise(
    success: npt.ArrayLike, steps: npt.ArrayLike, *, hz: float = CONTROL_HZ, seed: int = 0
) -> SuccessStats:
    """Statistics of episodes with ``success: (N,)`` bool and ``steps: (N,)`` control steps.

    Raises:
        StatisticsError: there are no episodes, the lengths differ, or an episode has no step.
    """
    succeeded, taken = _episodes(success, steps)
    seconds = taken / hz
    won = taken[succeeded]
    return SuccessStats(
        success_rate=float(succeeded.mean()),
        success_ci=wilson_interval(int(succeeded.sum()), len(succeeded)),
        median_steps=float(np.median(won)) if len(won) else None,
        median_steps_ci=bootstrap_interval(_medians, won, seed=seed) if len(won) else None,
        throughput_per_10min=throughput_per_10min(succeeded, seconds),
        throughput_ci=bootstrap_interval(_throughputs, succeeded, seconds, seed=seed),
        successes=int(succeeded.sum()),
        episodes=len(succeeded),
    )


def throughput_per_10min(success: npt.ArrayLike, seconds: npt.ArrayLike) -> float:
    """Successes in 10 minutes: 600 s / (mean duration of an episode) × success rate, including failures."""
    return float(
        600.0 * np.sum(np.asarray(success, dtype=np.float64)) / np.sum(np.asarray(seconds, dtype=np.float64))
    )


def wilson_interval(successes: int, trials: int, *, confidence: float = CONFIDENCE) -> Interval:
    """Wilson's score interval of a rate: unlike ±1.96 σ it stays inside 0..1 and is not empty at rates 0 and 1.

    Raises:
        StatisticsError: there are no trials, or more successes than trials.
    """
    if trials < 1 or not 0 <= successes <= trials:
        raise StatisticsError(
            f"{successes} successes in {trials} trials: a rate needs 0 ≤ successes ≤ trials, 1 or more"
        )
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    rate = successes / trials
    scale = 1 + z * z / trials
    centre = (rate + z * z / (2 * trials)) / scale
    half = z / scale * math.sqrt(rate * (1 - rate) / trials + z * z / (4 * trials * trials))
    # At rates 0 and 1 the bound equals the rate; rounding must not move it beyond.
    return Interval(0.0 if successes == 0 else centre - half, 1.0 if successes == trials else centre + half)


def bootstrap_interval(
    statistic: Callable[..., FloatArray],
    *samples: npt.NDArray[Any],
    confidence: float = CONFIDENCE,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Interval:
    """Percentile bootstrap of ``statistic``; the arrays ``samples`` are resampled together, row by row.

    ``statistic`` maps the resampled arrays, ``(R, N)``, to one value per row, ``(R,)``.
    """
    generator = np.random.default_rng(seed)
    rows = len(samples[0])
    picks = generator.integers(0, rows, size=(resamples, rows))
    return _percentiles(statistic(*(sample[picks] for sample in samples)), confidence)


def t_interval(values: Sequence[float], *, confidence: float = CONFIDENCE) -> tuple[float, Interval]:
    """Mean over seeds and Student's t interval of that mean.

    Raises:
        StatisticsError: there are fewer than three seeds; the interval of two is useless (t = 12.7).
    """
    if len(values) < 3:
        raise StatisticsError(f"an interval over seeds needs three or more, there are {len(values)}")
    sample = np.asarray(values, dtype=np.float64)
    mean = float(sample.mean())
    error = float(sample.std(ddof=1)) / math.sqrt(len(sample))
    half = t_quantile((1 + confidence) / 2, len(sample) - 1) * error
    return mean, Interval(mean - half, mean + half)


def paired_ratio(
    ours: Sequence[float], base: Sequence[float], *, confidence: float = CONFIDENCE
) -> tuple[float, Interval]:
    """Geometric mean over seeds of ``ours[i] / base[i]`` with the t interval of its logarithm.

    Raises:
        StatisticsError: lengths differ, a value is not above 0, or there are fewer than three seeds.
    """
    if len(ours) != len(base) or min(*ours, *base) <= 0:
        raise StatisticsError("a paired ratio needs one value above 0 of each side for every seed")
    mean, (low, high) = t_interval(
        [math.log(a / b) for a, b in zip(ours, base, strict=True)], confidence=confidence
    )
    return math.exp(mean), Interval(math.exp(low), math.exp(high))


def t_quantile(probability: float, freedom: int) -> float:
    """Quantile of Student's t for 0.5 < ``probability`` < 1, by bisection of the integrated density."""
    scale = math.exp(math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2)) / math.sqrt(freedom * math.pi)

    def upper_half(x: float) -> float:
        # With x = √f·tan(a) the density becomes cos(a)^(f-1), smooth on a finite range: Simpson's rule has an error of
        # about 1e-12 even for one degree of freedom.
        angles = np.linspace(0.0, math.atan(x / math.sqrt(freedom)), 2001)
        heights = scale * math.sqrt(freedom) * np.cos(angles) ** (freedom - 1)
        weights = np.ones(2001)
        weights[1:-1:2], weights[2:-1:2] = 4.0, 2.0
        return float(angles[1] / 3 * (weights * heights).sum())

    low, high = 0.0, 1.0
    while upper_half(high) < probability - 0.5:
        high *= 2
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if upper_half(middle) < probability - 0.5 else (low, middle)
    return (low + high) / 2


def rolling_success(success: npt.ArrayLike, window: int) -> FloatArray:
    """Success rate ``(N,)`` over the last ``window`` episodes, fewer at the beginning."""
    return _rolling(np.asarray(success, dtype=np.float64), window, np.mean)


def rolling_median_steps(success: npt.ArrayLike, steps: npt.ArrayLike, window: int) -> FloatArray:
    """Median steps ``(N,)`` of the successes among the last ``window`` episodes; NaN without one."""
    won = np.where(np.asarray(success, dtype=bool), np.asarray(steps, dtype=np.float64), np.nan)
    return _rolling(won, window, _median_or_nan)


def takeover_dip(base_rate: float, success: npt.ArrayLike, window: int) -> float:
    """Largest drop of the rolling success after take-over below the base's rate, 0..1.

    ``success: (N,)`` of the online episodes in order. Only full windows count; with fewer episodes than ``window`` the
    window contains all of them.
    """
    succeeded = np.asarray(success, dtype=np.float64)
    if not len(succeeded):
        raise StatisticsError("the dip after take-over needs online episodes, there are none")
    full = min(window, len(succeeded))
    return max(0.0, base_rate - float(rolling_success(succeeded, full)[full - 1 :].min()))


def _episodes(success: npt.ArrayLike, steps: npt.ArrayLike) -> tuple[npt.NDArray[np.bool_], FloatArray]:
    succeeded = np.asarray(success, dtype=bool)
    taken = np.asarray(steps, dtype=np.float64)
    if succeeded.ndim != 1 or succeeded.shape != taken.shape or not len(succeeded):
        raise StatisticsError(
            f"success {succeeded.shape} and steps {taken.shape}: expected (N,) of both, N ≥ 1"
        )
    if not (taken > 0).all():
        raise StatisticsError("every episode takes at least one control step; one has none or NaN")
    return succeeded, taken


def _rolling(values: FloatArray, window: int, statistic: Callable[[FloatArray], Any]) -> FloatArray:
    return np.array([statistic(values[max(0, end - window) : end]) for end in range(1, len(values) + 1)])


def _median_or_nan(values: FloatArray) -> float:
    known = values[~np.isnan(values)]
    return float(np.median(known)) if len(known) else math.nan


def _medians(values: npt.NDArray[Any]) -> FloatArray:
    return np.asarray(np.median(values, axis=-1), dtype=np.float64)


def _throughputs(success: npt.NDArray[Any], seconds: npt.NDArray[Any]) -> FloatArray:
    return np.asarray(600.0 * success.sum(axis=-1) / seconds.sum(axis=-1), dtype=np.float64)


def _percentiles(values: FloatArray, confidence: float) -> Interval:
    low, high = np.quantile(values, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(float(low), float(high))
