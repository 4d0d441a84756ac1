"""Table of success rate, steps and throughput."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rlt_ros.cli.output import number, print_table

NAMES = {"base": "frozen VLA", "demo": "demonstrator", "rlt": "RLT"}


def present_summary(summary: Mapping[str, Any]) -> None:
    """Print the ``summary.json`` of a run: results of each policy, and the gain of RLT over the frozen VLA."""
    present_outcomes(
        {key: summary[key] for key in NAMES if key in summary},
        title=f"{summary['task']}, seed {summary['seed']}",
    )
    print(
        f"throughput × {number(summary['throughput_ratio'])} and speed × {number(summary['speed_ratio'])} "
        f"of the frozen VLA, after {number(summary['robot_minutes'], 1)} robot minutes "
        f"({summary['episodes']} episodes)"
    )


def present_outcomes(outcomes: Mapping[str, Mapping[str, Any]], *, title: str = "") -> None:
    """Print one row per policy, with known 95 % intervals."""
    rows = [
        (
            NAMES.get(name, name),
            number(100 * outcome["success_rate"], 0, " %") + _interval(outcome.get("success_ci"), 100),
            number(outcome["median_steps"], 0) + _interval(outcome.get("median_steps_ci"), 1),
            number(outcome["throughput_per_10min"], 1),
            str(outcome["episodes"]),
        )
        for name, outcome in outcomes.items()
    ]
    print_table(("", "success", "median steps", "successes / 10 min", "episodes"), rows, title=title)


def _interval(bounds: tuple[float, float] | None, scale: float) -> str:
    return "" if bounds is None else f"  [{number(scale * bounds[0], 0)}, {number(scale * bounds[1], 0)}]"
