from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlt_ros.report import statistics
from rlt_ros.report.statistics import StatisticsError


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [  # Published tables of the score interval, 95 %.
        (0, 10, 0.0, 0.2775),
        (1, 10, 0.0179, 0.4042),
        (5, 10, 0.2366, 0.7634),
        (81, 263, 0.2553, 0.3662),  # Newcombe 1998, table I, method 3
        (15, 148, 0.0624, 0.1605),
        (1, 29, 0.0061, 0.1718),
        (20, 20, 0.8389, 1.0),
    ],
)
def test_wilson_interval_equals_the_published_values(
    successes: int, trials: int, low: float, high: float
) -> None:
    assert statistics.wilson_interval(successes, trials) == pytest.approx((low, high), abs=5e-5)


@given(st.integers(1, 2000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_interval_holds_the_rate_and_stays_a_probability(counts: tuple[int, int]) -> None:
    successes, trials = counts
    low, high = statistics.wilson_interval(successes, trials)
    assert 0 <= low <= successes / trials <= high <= 1


@pytest.mark.parametrize(("successes", "trials"), [(0, 0), (3, 2), (-1, 5)])
def test_wilson_interval_refuses_impossible_counts(successes: int, trials: int) -> None:
    with pytest.raises(StatisticsError, match=f"{successes} successes in {trials} trials"):
        statistics.wilson_interval(successes, trials)


@pytest.mark.parametrize(
    ("probability", "freedom", "value"),
    [
        (0.975, 1, 12.7062),
        (0.975, 2, 4.3027),
        (0.975, 4, 2.7764),
        (0.95, 9, 1.8331),
        (0.995, 30, 2.7500),
        (0.975, 200, 1.9719),
    ],
)
def test_t_quantile_equals_the_table(probability: float, freedom: int, value: float) -> None:
    assert statistics.t_quantile(probability, freedom) == pytest.approx(value, abs=5e-5)


def test_throughput_counts_the_time_of_failures() -> None:
    # 3 successes in 20 s of robot time: 9 a minute, 90 in ten.
    assert statistics.throughput_per_10min([1, 1, 0, 1], [4, 5, 6, 5]) == pytest.approx(90)


def test_throughput_is_success_rate_over_mean_duration() -> None:
    success, seconds = np.array([1, 0, 1, 1, 0]), np.array([2.0, 6.0, 3.0, 2.5, 6.0])
    assert statistics.throughput_per_10min(success, seconds) == pytest.approx(
        600 / seconds.mean() * success.mean()
    )


def test_summary_of_known_episodes() -> None:
    outcome = statistics.summarise([True, True, False, True], [100, 50, 300, 60], hz=50)
    assert (outcome.successes, outcome.episodes, outcome.success_rate) == (3, 4, 0.75)
    assert outcome.median_steps == 60, "the failure's steps must not count"
    assert outcome.throughput_per_10min == pytest.approx(3 * 600 / (510 / 50))
    assert outcome.median_steps_ci is not None
    assert 50 <= outcome.median_steps_ci.low <= 60 <= outcome.median_steps_ci.high <= 100
    low, high = outcome.throughput_ci
    assert low < outcome.throughput_per_10min < high


def test_summary_without_a_success_has_no_median() -> None:
    outcome = statistics.summarise([False, False], [300, 300])
    assert outcome.median_steps is None
    assert outcome.median_steps_ci is None
    assert outcome.throughput_per_10min == 0
    assert outcome.success_ci.low == 0


def test_summary_is_the_same_every_time() -> None:
    generator = np.random.default_rng(3)
    success, steps = generator.random(100) < 0.8, generator.integers(20, 200, 100)
    assert statistics.summarise(success, steps) == statistics.summarise(success, steps)


@pytest.mark.parametrize(
    ("success", "steps", "message"),
    [
        ([], [], "N ≥ 1"),
        ([True], [3, 4], r"\(1,\) and steps \(2,\)"),
        ([True], [0], "at least one control step"),
        ([True], [math.nan], "NaN"),
    ],
)
def test_summary_refuses_bad_episodes(success: list[bool], steps: list[float], message: str) -> None:
    with pytest.raises(StatisticsError, match=message):
        statistics.summarise(success, steps)


def test_bootstrap_interval_of_a_median_covers_the_true_one_as_often_as_it_says() -> None:
    generator = np.random.default_rng(0)
    covered = 0
    for trial in range(200):
        sample = generator.exponential(size=60)
        low, high = statistics.bootstrap_interval(
            lambda rows: np.median(rows, axis=-1), sample, resamples=400, seed=trial
        )
        covered += low <= math.log(2) <= high
    assert 0.89 <= covered / 200 <= 0.99


def test_t_interval_of_three_seeds_by_hand() -> None:
    mean, (low, high) = statistics.t_interval([1.0, 2.0, 3.0])
    assert mean == 2
    assert (low, high) == pytest.approx((2 - 4.30265 / math.sqrt(3), 2 + 4.30265 / math.sqrt(3)), abs=1e-4)


def test_t_interval_refuses_two_seeds() -> None:
    with pytest.raises(StatisticsError, match="three or more, there are 2"):
        statistics.t_interval([1.0, 2.0])


def test_paired_ratio_pairs_the_seeds() -> None:
    # Every seed doubles, however different the seeds are from each other: no spread is left.
    ratio, (low, high) = statistics.paired_ratio([2.0, 20.0, 200.0], [1.0, 10.0, 100.0])
    assert (ratio, low, high) == pytest.approx((2, 2, 2))


@pytest.mark.parametrize("base", [[1.0, 0.0, 1.0], [1.0, 1.0]])
def test_paired_ratio_refuses_what_has_no_ratio(base: list[float]) -> None:
    with pytest.raises(StatisticsError, match="above 0"):
        statistics.paired_ratio([2.0, 2.0, 2.0], base)


def test_rolling_success_looks_back_only() -> None:
    assert statistics.rolling_success([1, 0, 0, 1], 2).tolist() == [1.0, 0.5, 0.0, 0.5]


def test_rolling_median_steps_ignores_failures() -> None:
    rolled = statistics.rolling_median_steps([False, True, True, False], [9, 4, 8, 9], 2)
    assert np.isnan(rolled[0])
    assert rolled[1:].tolist() == [4, 6, 8]


@pytest.mark.parametrize(
    ("success", "window", "dip"),
    [
        ([1, 1, 1, 1], 2, 0.0),  # never under the base
        ([0, 1, 1, 1], 2, 0.0),  # the first window, 1 of 2, is as good as the base
        ([1, 0, 0, 1], 2, 0.5),
        ([0, 0], 5, 0.5),  # fewer episodes than the window
    ],
)
def test_takeover_dip_is_the_worst_full_window_under_the_base(
    success: list[int], window: int, dip: float
) -> None:
    assert statistics.takeover_dip(0.5, success, window) == pytest.approx(dip)
