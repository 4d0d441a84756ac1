"""HTML page about several seeds of one experiment: mean curves, and intervals over seeds."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from html import escape
from pathlib import Path

import numpy as np

from rlt_ros.learning.run_folder import POLICIES, TRAINING_PHASES
from rlt_ros.report import charts, page
from rlt_ros.report.outcome_table import COLUMNS, Measured, outcome_table
from rlt_ros.report.report import WINDOW, learning_curve
from rlt_ros.report.run_files import FinishedRun, FloatArray, RunError, read_run
from rlt_ros.report.statistics import (
    Interval,
    paired_ratio,
    t_interval,
    t_quantile,
    takeover_dip,
    wilson_interval,
)

_GRID = 200
"""Points of the mean curve."""


def write_seeds_report(run_dirs: Sequence[Path], out: Path | None = None) -> Path:
    """Write a page about the runs, by default ``seeds.html`` next to the first; returns its path.

    Raises:
        RunError: a run cannot be read, the runs are of different tasks, or two have the same seed.
    """
    runs = [read_run(folder) for folder in run_dirs]
    _check_same_experiment(runs)
    task = runs[0].summary["task"]
    sections = [_header(task, runs), _outcomes(runs), _learning(runs), _table_of_seeds(runs)]
    return page.write_page(
        out or runs[0].folder.parent / "seeds.html", f"{task} · {len(runs)} seeds", sections
    )


def _check_same_experiment(runs: Sequence[FinishedRun]) -> None:
    if len(runs) < 2:
        raise RunError("a report about seeds needs two runs or more; give their folders")
    tasks = {run.summary["task"] for run in runs}
    if len(tasks) > 1:
        raise RunError(
            f"runs of different tasks ({', '.join(sorted(tasks))}) cannot be averaged; give one task"
        )
    seeds = [run.summary["seed"] for run in runs]
    if len(set(seeds)) < len(seeds):
        raise RunError(
            f"seeds {seeds}: a seed is repeated, which makes the interval too small; remove one run"
        )


def over_seeds(values: Sequence[float | None]) -> Measured:
    """Mean and t interval over seeds; no interval below three seeds, no mean if a seed has no value."""
    known = [value for value in values if value is not None]
    if len(known) < len(values):
        return Measured(None, None)
    if len(known) < 3:
        return Measured(float(np.mean(known)), None)
    mean, bounds = t_interval(known)
    return Measured(mean, bounds)


def success_over_seeds(runs: Sequence[FinishedRun], policy: str) -> Measured:
    """Mean success rate and the wider of two intervals: t over seeds, and Wilson's over all their episodes.

    If all seeds reach 100 %, they have no spread, and the t interval alone would be empty.
    """
    outcomes = [run.summary[policy] for run in runs]
    measured = over_seeds([outcome["success_rate"] for outcome in outcomes])
    low, high = wilson_interval(
        sum(outcome["successes"] for outcome in outcomes), sum(outcome["episodes"] for outcome in outcomes)
    )
    if measured.bounds is not None:
        low, high = max(0.0, min(low, measured.bounds[0])), min(1.0, max(high, measured.bounds[1]))
    return Measured(measured.value, Interval(low, high))


def ratio_over_seeds(ratios: Sequence[float | None]) -> Measured:
    """Geometric mean of the seeds' ratios to their own base; no value if a seed has none."""
    known = [ratio for ratio in ratios if ratio is not None and ratio > 0]
    if len(known) < len(ratios):
        return Measured(None, None)
    if len(known) < 3:
        return Measured(math.exp(float(np.mean(np.log(known)))), None)
    mean, bounds = paired_ratio(known, [1.0] * len(known))
    return Measured(mean, bounds)


def dip_over_seeds(runs: Sequence[FinishedRun]) -> float | None:
    """Largest drop of the mean rolling success below the base's after take-over; None with too few episodes.

    Seeds are averaged episode by episode, up to the length of the shortest run.
    """
    online = [run.episodes("online").success for run in runs]
    shared = min(len(success) for success in online)
    if shared < WINDOW:
        return None
    base = float(np.mean([run.summary["base"]["success_rate"] for run in runs]))
    return takeover_dip(base, np.mean([success[:shared] for success in online], axis=0), WINDOW)


def _header(task: str, runs: Sequence[FinishedRun]) -> str:
    success, base = (
        float(np.mean([run.summary[policy]["success_rate"] for run in runs])) for policy in ("rlt", "base")
    )
    low, high = success_over_seeds(runs, "rlt").bounds or (success, success)
    throughput = ratio_over_seeds([run.summary["throughput_ratio"] for run in runs])
    speed = ratio_over_seeds([run.summary["speed_ratio"] for run in runs])
    minutes = max(run.summary["robot_minutes"] for run in runs)
    lead = (
        f"The frozen VLA alone succeeds in <b>{page.percent(base)}</b> of its attempts, RL on top of it in "
        f"<b class='rlt'>{page.percent(success)}</b>, after at most "
        f"<b>{minutes:.1f} minutes</b> of robot time in the critical phase. Means over {len(runs)} seeds."
    )
    tiles = page.tiles(
        [
            (page.percent(success), "success", f"95 % interval: {100 * low:.0f} to {100 * high:.0f} %"),
            (page.times(speed.value), "faster", _ratio_bounds(speed)),
            (page.times(throughput.value), "throughput", _ratio_bounds(throughput)),
        ]
    )
    return page.header(f"RL Token · {len(runs)} seeds", task.capitalize(), lead) + tiles


def _ratio_bounds(ratio: Measured) -> str:
    if ratio.bounds is None:
        return "an interval needs three seeds"
    return f"95 % interval over seeds: {ratio.bounds[0]:.1f} to {ratio.bounds[1]:.1f}×"


def _outcomes(runs: Sequence[FinishedRun]) -> str:
    def figure(policy: str, key: str) -> Measured:
        if key == "success_rate":
            return success_over_seeds(runs, policy)
        measured = over_seeds([run.summary[policy][key] for run in runs])
        if measured.bounds is None:
            return measured
        # The t interval can extend below 0, but steps and throughput cannot be negative.
        return Measured(measured.value, Interval(max(0.0, measured.bounds[0]), measured.bounds[1]))

    measured = {policy: {key: figure(policy, key) for key in COLUMNS} for policy in POLICIES}
    counts = {policy: sum(run.summary[policy]["episodes"] for run in runs) for policy in POLICIES}
    return page.section(
        "Outcomes",
        "Means over seeds. Small numbers and whiskers are 95 % intervals: Student’s t over seeds, and for "
        "the success rate the wider of that and Wilson’s over all episodes, because seeds may agree by chance.",
        outcome_table(measured, counts, "episodes"),
    )


def _learning(runs: Sequence[FinishedRun]) -> str:
    curves = [(run.episodes(*TRAINING_PHASES), run) for run in runs]
    minutes = [episodes.robot_minutes for episodes, _ in curves]
    rolled = [learning_curve(episodes) for episodes, _ in curves]
    success = _mean_plot(
        minutes, [100 * rate for rate, _ in rolled], _levels(runs, "success_rate", 100.0), percent=True
    )
    steps = _mean_plot(
        minutes, [taken for _, taken in rolled], _levels(runs, "median_steps", 1.0), percent=False
    )
    return page.section(
        "Learning",
        "Thin lines are the seeds, the thick line is their mean with its 95 % interval over seeds. Exploration "
        "noise is included; the horizontal lines are the frozen VLA and the demonstrator.",
        page.grid(page.figure(success, "Success rate"), page.figure(steps, "Median steps of a success")),
    )


def _levels(runs: Sequence[FinishedRun], key: str, scale: float) -> list[charts.Level]:
    means = {
        policy: over_seeds([run.summary[policy][key] for run in runs]).value for policy in ("base", "demo")
    }
    names = {"base": "VLA", "demo": "demo"}
    return [
        charts.Level(scale * mean, policy, names[policy])
        for policy, mean in means.items()
        if mean is not None
    ]


def _mean_plot(
    minutes: Sequence[FloatArray], curves: Sequence[FloatArray], levels: list[charts.Level], *, percent: bool
) -> str:
    thin = [charts.Curve(x, y, "rlt", thin=True) for x, y in zip(minutes, curves, strict=True)]
    x, mean, band = mean_curve(minutes, curves)
    if percent and band is not None:
        band = (np.clip(band[0], 0, 100), np.clip(band[1], 0, 100))
    return charts.plot(
        [*thin, charts.Curve(x, mean, "rlt", "RLT", band)],
        levels=levels,
        y_range=(0.0, 104.0) if percent else None,
        from_zero=True,
        unit=" %" if percent else "",
        x_label="robot minutes in the critical phase",
        description="Mean learning curve over seeds",
    )


def mean_curve(
    x: Sequence[FloatArray], y: Sequence[FloatArray]
) -> tuple[FloatArray, FloatArray, tuple[FloatArray, FloatArray] | None]:
    """Mean of curves on a common grid over their common range, and the t band of three or more.

    A rolling figure holds until the end of the next episode, so curves are step functions without interpolation.
    """
    known = [np.isfinite(curve) for curve in y]
    start = max(float(a[mask][0]) if mask.any() else np.inf for a, mask in zip(x, known, strict=True))
    end = min(float(a[-1]) for a in x)
    if not start < end:
        return np.empty(0), np.empty(0), None
    grid = np.linspace(start, end, _GRID)
    held = np.stack(
        [
            curve[mask][np.searchsorted(at[mask], grid, side="right") - 1]
            for at, curve, mask in zip(x, y, known, strict=True)
        ]
    )
    mean = held.mean(axis=0)
    if len(held) < 3:
        return grid, mean, None
    half = t_quantile(0.975, len(held) - 1) * held.std(axis=0, ddof=1) / np.sqrt(len(held))
    return grid, mean, (mean - half, mean + half)


def _table_of_seeds(runs: Sequence[FinishedRun]) -> str:
    rows = []
    for run in sorted(runs, key=lambda run: run.summary["seed"]):
        summary = run.summary
        base, rlt = summary["base"], summary["rlt"]
        rows.append(
            (
                f"{summary['seed']}",
                f"{page.percent(base['success_rate'])} → {page.percent(rlt['success_rate'])}",
                f"{page.whole(base['median_steps'])} → {page.whole(rlt['median_steps'])}",
                page.times(summary["throughput_ratio"]),
                page.points(summary["takeover_dip"]),
                f"{summary['robot_minutes']:.1f}",
                f"<code>{escape(os.fspath(run.folder))}</code>",
            )
        )
    columns = ("seed", "success", "median steps", "throughput", "deepest dip", "robot minutes", "folder")
    text = (
        "Frozen VLA → RLT, per seed. Averaged over seeds, the largest drop of the rolling success after take-over is "
        f"{page.points(dip_over_seeds(runs))} below the frozen VLA’s."
    )
    return page.section("The seeds", text, page.table(columns, rows))
