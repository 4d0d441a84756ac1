"""Report of a run, one self-contained HTML page: outcomes, learning curves, settings."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from rlt_ros.learning.run_folder import POLICIES, TRAINING_PHASES
from rlt_ros.report import charts, page
from rlt_ros.report.outcome_table import Measured, outcome_table
from rlt_ros.report.run_files import (
    EVALUATION_PHASE,
    Episodes,
    FinishedRun,
    FloatArray,
    read_run,
)
from rlt_ros.report.statistics import CONTROL_HZ, rolling_median_steps, rolling_success

WINDOW = 20
"""Episodes in a point of the learning curve."""

_METRICS = {
    "q": ("Mean Q", "of the batch; rises towards the discounted reward of a success"),
    "critic_loss": ("Critic loss", "squared TD error of both critics"),
    "td_target": ("TD target", "regression target of Q"),
    "actor_loss": ("Actor loss", "β‖a − ã‖² − Q"),
    "bc": ("Distance from the reference", "‖a − ã‖², summed over the chunk"),
    "beta": ("β", "weight of the distance from the reference"),
    "departure": ("Departure", "of the mean action from the reference, policy units"),
    "q_action_sensitivity": ("Sensitivity of Q to actions", "near 0, Q does not depend on the action"),
    "q_spread": ("Spread of Q", "over the states of a batch"),
    "disagreement": ("Disagreement", "mean distance of the two critics"),
    "td_error": ("TD error", "mean distance of Q from its target"),
    "actor_q": ("Q of the actor's chunk", "value of the mean action"),
    "critic_grad_norm": ("Gradient norm of the critics", "before clipping"),
    "actor_grad_norm": ("Gradient norm of the actor", "before clipping"),
    "utd_debt": ("Update debt", "updates owed to the data; bounded if the learner is fast enough"),
    "damaged_rows": ("Damaged rows", "of the replay, excluded from sampling; 0 on a sound disk"),
}
"""First curves of the learner, with title and explanation; others follow with their names."""

_NOT_A_CURVE = {"robot_minutes", "updates", "wall_seconds", "episode", "step", "time"}

_X_LABEL = "robot minutes in the critical phase"


def write_report(run_dir: Path) -> Path:
    """Write ``run_dir/report.html`` and return its path.

    Raises:
        RunError: the run is not finished, or one of its files cannot be read.
    """
    run = read_run(run_dir)
    sections = [
        _header(run),
        _films(run),
        _outcomes(run),
        _learning(run),
        _steps(run),
        _learner(run),
        _facts(run),
    ]
    return page.write_page(
        run_dir / "report.html", f"{run.summary['task']} · RLT report", [text for text in sections if text]
    )


def _header(run: FinishedRun) -> str:
    summary = run.summary
    base, rlt = summary["base"], summary["rlt"]
    lead = (
        "With the frozen VLA alone, the arm succeeds in "
        f"<b>{page.percent(base['success_rate'])}</b> of its attempts. "
        f"After <b>{summary['robot_minutes']:.1f} minutes</b> of robot time in the critical phase, RL on top "
        f"of the same VLA succeeds in <b class='rlt'>{page.percent(rlt['success_rate'])}</b>."
        f"{_help(summary)}"
    )
    tiles = page.tiles(
        [
            (
                page.percent(rlt["success_rate"]),
                "success",
                f"frozen VLA: {page.percent(base['success_rate'])}",
            ),
            (
                page.times(summary["speed_ratio"]),
                "faster",
                f"median of {page.whole(rlt['median_steps'])} steps, "
                f"frozen VLA: {page.whole(base['median_steps'])}",
            ),
            (
                page.times(summary["throughput_ratio"]),
                "throughput",
                f"{rlt['throughput_per_10min']:.0f} successes in 10 min, "
                f"frozen VLA: {base['throughput_per_10min']:.0f}",
            ),
        ]
    )
    return page.header(_eyebrow(run), summary["task"].capitalize(), lead) + tiles


def _help(summary: Mapping[str, Any]) -> str:
    """Operator's share of training; evaluations are without help."""
    if not summary.get("updates", 1):
        return (
            " The warm-up did not end in that time, so the VLA acted in all episodes; use more robot minutes."
        )
    share = summary.get("human_share")
    if share is None:
        return ""
    return f" An operator commanded {page.percent(share)} of that time; the evaluation is without help."


def _eyebrow(run: FinishedRun) -> str:
    """Robot (simulated or real) and seed; runs of earlier versions have the robot only in the settings."""
    settings = run.config.get("run")
    robot = (
        run.summary.get("robot") or (settings.get("robot") if isinstance(settings, dict) else "") or "robot"
    )
    simulated = "simulated " if run.summary.get("simulated", True) else ""
    return f"RL Token · {simulated}{robot} · seed {run.summary['seed']}"


def _films(run: FinishedRun) -> str:
    if not run.films:
        return ""
    films = [
        f"<figure>{_film(film.path)}<figcaption>{escape(film.start.capitalize())}"
        f"<small>{escape('; '.join(f'{policy}: {outcome}' for policy, outcome in film.outcomes))}</small>"
        "</figcaption></figure>"
        for film in run.films
    ]
    return page.section(
        "Before and after",
        "Left: the frozen VLA. Right: the trained policy on the same VLA. Both have the same start and run at the "
        "robot's speed; a finished episode shows its last picture. Times are those of the critical phase.",
        f'<div class="films">{"".join(films)}</div>',
    )


def _film(path: Path) -> str:
    data = base64.b64encode(path.read_bytes()).decode("ascii")
    return f'<video autoplay loop muted playsinline controls src="data:video/mp4;base64,{data}"></video>'


def _outcomes(run: FinishedRun) -> str:
    intervals = {
        "success_rate": "success_ci",
        "median_steps": "median_steps_ci",
        "throughput_per_10min": "throughput_ci",
    }
    measured = {
        policy: {
            key: Measured(run.summary[policy][key], run.summary[policy][ci]) for key, ci in intervals.items()
        }
        for policy in POLICIES
    }
    return page.section(
        "Outcomes",
        "Evaluation episodes with the mean action. Small numbers and whiskers are 95 % intervals: Wilson’s "
        "for the success rate, bootstrap over episodes for the others. Throughput counts the time of "
        "failures too.",
        outcome_table(measured, {policy: run.summary[policy]["episodes"] for policy in POLICIES}, "episodes"),
    )


def _learning(run: FinishedRun) -> str:
    episodes = run.episodes(*TRAINING_PHASES)
    if not len(episodes.success):
        return ""
    warmup = run.episodes("warmup")
    spans = [charts.Span(0.0, float(warmup.robot_minutes[-1]), "warm-up")] if len(warmup.success) else []
    minutes, summary = episodes.robot_minutes, run.summary
    at = float(minutes[-1])

    def levels(key: str, scale: float = 1.0) -> list[charts.Level]:
        names = {"base": "VLA", "demo": "demo"}
        return [
            charts.Level(scale * summary[policy][key], policy, names[policy])
            for policy in names
            if summary[policy][key] is not None
        ]

    def mark(key: str, bounds: str, scale: float = 1.0) -> list[charts.Mark]:
        value, interval = summary["rlt"][key], summary["rlt"][bounds]
        if value is None or interval is None:
            return []
        return [charts.Mark(at, scale * value, scale * interval[0], scale * interval[1], "rlt", "RLT")]

    rate, steps_taken = learning_curve(episodes)
    success = charts.plot(
        [charts.Curve(minutes, 100 * rate, "rlt")],
        levels=levels("success_rate", 100.0),
        marks=mark("success_rate", "success_ci", 100.0),
        spans=spans,
        y_range=(0.0, 104.0),
        unit=" %",
        x_label=_X_LABEL,
        description="Success rate against robot minutes",
    )
    steps = charts.plot(
        [charts.Curve(minutes, steps_taken, "rlt")],
        levels=levels("median_steps"),
        marks=mark("median_steps", "median_steps_ci"),
        spans=spans,
        from_zero=True,
        x_label=_X_LABEL,
        description="Median steps of a success against robot minutes",
    )
    return page.section(
        "Learning",
        f"Each point is the mean of the last {WINDOW} episodes, including exploration noise. The dot at the end is "
        "the evaluation of the trained policy, with its interval; the horizontal lines are the frozen VLA and "
        "the demonstrator. Largest drop below the VLA after take-over: "
        f"{page.points(summary['takeover_dip'])}.",
        page.grid(
            page.figure(success, "Success rate", "unaided successes; higher is better"),
            page.figure(
                steps, "Median steps of a success", f"{CONTROL_HZ:.0f} steps are one second; lower is better"
            ),
        ),
    )


def learning_curve(episodes: Episodes) -> tuple[FloatArray, FloatArray]:
    """Rolling success rate (0..1) and median steps of the successes, ``(N,)`` each.

    NaN over the first half window, where the rate of a few episodes would be noise.
    """
    rate = rolling_success(episodes.success, WINDOW)
    steps = rolling_median_steps(episodes.success, episodes.steps, WINDOW)
    rate[: WINDOW // 2] = steps[: WINDOW // 2] = np.nan
    return rate, steps


def _steps(run: FinishedRun) -> str:
    evaluated = {policy: run.episodes(EVALUATION_PHASE[policy]) for policy in POLICIES}
    evaluated = {policy: episodes for policy, episodes in evaluated.items() if len(episodes.success)}
    if not evaluated:
        return ""
    failed = {policy: int((~episodes.success).sum()) for policy, episodes in evaluated.items()}
    rows = [
        charts.Distribution(
            episodes.steps[episodes.success],
            policy,
            page.NAMES[policy],
            f"and {failed[policy]} failed" if failed[policy] else "none failed",
        )
        for policy, episodes in evaluated.items()
    ]
    x_label = f"control steps ({CONTROL_HZ:.0f} are one second)"
    histogram = charts.histogram_rows(
        rows, x_label=x_label, description="Histograms of the steps of successful attempts"
    )
    longest = max(float(episodes.steps.max()) for episodes in evaluated.values())
    curves = []
    for policy, episodes in evaluated.items():
        won = np.sort(episodes.steps[episodes.success])
        share = 100 * np.arange(len(won) + 1) / len(episodes.success)
        x = np.array([0.0, *won, longest])
        curves.append(charts.Curve(x, np.array([*share, share[-1]]), policy, _SHORT[policy], steps=True))
    finished = charts.plot(
        curves,
        y_range=(0.0, 104.0),
        unit=" %",
        x_label=x_label,
        description="Share of successful attempts against steps",
    )
    return page.section(
        "How long it takes",
        "Steps of the critical phase in the evaluation episodes.",
        page.grid(
            page.figure(
                histogram,
                "Steps of the successes",
                "bars count attempts, the line is the median",
            ),
            page.figure(
                finished,
                "Attempts that have succeeded by then",
                "share of all attempts, failures included",
            ),
        ),
    )


_SHORT = {"base": "VLA", "demo": "demo", "rlt": "RLT"}


def _learner(run: FinishedRun) -> str:
    minutes = run.metrics["robot_minutes"]
    shown = [name for name in _METRICS if name in run.metrics]
    shown += [name for name in run.metrics if name not in _METRICS and name not in _NOT_A_CURVE]
    figures = []
    for name in shown:
        values = run.metrics[name]
        if not np.isfinite(values).any():
            continue
        title, text = _METRICS.get(name, (name, "metric of the learner"))
        curve = charts.plot(
            [charts.Curve(minutes, values, "plain")],
            x_label="robot minutes",
            description=f"{title} against robot minutes",
            size=charts.SMALL,
        )
        figures.append(page.figure(curve, title, text))
    if not figures:
        return ""
    return page.section(
        "The learner", "Metrics of actor and critics during training.", page.grid(*figures, small=True)
    )


def _facts(run: FinishedRun) -> str:
    summary = run.summary
    about = {
        "task": summary["task"],
        **({"robot": summary["robot"]} if "robot" in summary else {}),
        **({"operator's share": page.percent(summary["human_share"])} if "human_share" in summary else {}),
        "seed": summary["seed"],
        "robot minutes": f"{summary['robot_minutes']:.2f}",
        "episodes": summary["episodes"],
        "wall time": _duration(summary["wall_seconds"]),
        "deepest dip after take-over": page.points(summary["takeover_dip"]),
    }
    blocks = [page.facts(about), "<h3>Versions</h3>", page.facts(summary["versions"])]
    if "lineage" in summary:
        blocks += ["<h3>Lineage</h3>", page.facts(summary["lineage"])]
    blocks += ["<h3>Settings</h3>", page.settings(run.config)]
    return page.section(
        "The run",
        f"All settings needed to repeat it, from <code>{escape(str(run.folder))}</code>.",
        *blocks,
    )


def _duration(seconds: float) -> str:
    if not math.isfinite(seconds):
        return "–"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"
