"""Main table of a report: success, steps and throughput of each policy with intervals."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from rlt_ros.report import charts, page


class Measured(NamedTuple):
    """Figure and its 95 % interval; None if not measurable."""

    value: float | None
    bounds: tuple[float, float] | None


class _Column(NamedTuple):
    title: str
    shown: Callable[[float], str]
    scale: float
    """Factor on the displayed bounds."""


COLUMNS = {
    "success_rate": _Column("success", page.percent, 100.0),
    "median_steps": _Column("median steps of a success", page.whole, 1.0),
    "throughput_per_10min": _Column("successes in 10 min", page.whole, 1.0),
}


def outcome_table(
    measured: Mapping[str, Mapping[str, Measured]], counts: Mapping[str, int], count_title: str
) -> str:
    """Table with one row per policy of ``measured`` (policy → key of `COLUMNS` → figure), with its count last."""
    ends = {key: _end([row[key] for row in measured.values()]) for key in COLUMNS}
    ends["success_rate"] = 1.0
    rows = [
        (
            page.policy_name(policy),
            *(_cell(column, row[key], ends[key], policy) for key, column in COLUMNS.items()),
            f"{counts[policy]:,}",
        )
        for policy, row in measured.items()
    ]
    return page.table(("", *(column.title for column in COLUMNS.values()), count_title), rows)


def _end(column: list[Measured]) -> float:
    known = [max([figure.value, *(figure.bounds or ())]) for figure in column if figure.value is not None]
    return max(known, default=1.0) or 1.0


def _cell(column: _Column, figure: Measured, end: float, policy: str) -> str:
    if figure.value is None:
        return '<span class="figure">–</span>'
    text = column.shown(figure.value)
    if figure.bounds is None:
        return f'<span class="figure">{text}</span>'
    low, high = figure.bounds
    shown = f"{column.scale * low:.0f} to {column.scale * high:.0f}"
    mark = charts.interval(
        figure.value, low, high, end=end, style=policy, description=f"95 % interval {shown}"
    )
    return f'<span class="figure">{text} <small>{shown}</small></span>{mark}'
