"""Charts as inline SVG: curves, bands, levels, histograms and intervals.

The page's style sheet sets the colours, for light and dark mode, by the class of an element (``base``, ``demo``,
``rlt``, ``plain``). Sizes are in the chart's own units; a chart is made for a column of about `WIDTH` (or `SMALL`)
pixels and scales with it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]

WIDTH, HEIGHT = 440.0, 250.0
SMALL = (290.0, 180.0)
"""Width and height of a chart, for three per row."""

LEFT, TOP, BOTTOM = 44.0, 12.0, 36.0
LABEL_SPACE, NO_LABEL_SPACE = 58.0, 10.0
"""Margin at the right edge with and without labels."""

LABEL_GAP = 15.0
"""Smallest distance of two labels at the right edge, so that they never overlap."""

MAX_POINTS = 400
"""Points of a curve; more are not visible at this size and only enlarge the page."""


@dataclass(frozen=True)
class Curve:
    """Curve through ``x, y: (N,)``; NaN in ``y`` interrupts it. ``band`` is ``(low, high)`` around it."""

    x: FloatArray
    y: FloatArray
    style: str
    label: str = ""
    band: tuple[FloatArray, FloatArray] | None = None
    thin: bool = False
    steps: bool = False
    """Draw as a step function: the value holds until the next point."""


@dataclass(frozen=True)
class Level:
    """Horizontal line over the whole width."""

    y: float
    style: str
    label: str


@dataclass(frozen=True)
class Mark:
    """Dot with whiskers from ``low`` to ``high``."""

    x: float
    y: float
    low: float
    high: float
    style: str
    label: str


@dataclass(frozen=True)
class Span:
    """Shaded interval of the x axis."""

    start: float
    end: float
    label: str


@dataclass(frozen=True)
class Distribution:
    """Row of `histogram_rows`: ``values: (N,)`` and a remark on values that it excludes."""

    values: FloatArray
    style: str
    label: str
    remark: str = ""


@dataclass(frozen=True)
class _Scale:
    """Map from data to drawing, on one axis."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)


def plot(
    lines: Sequence[Curve],
    *,
    x_label: str,
    description: str,
    levels: Sequence[Level] = (),
    marks: Sequence[Mark] = (),
    spans: Sequence[Span] = (),
    y_range: tuple[float, float] | None = None,
    from_zero: bool = False,
    unit: str = "",
    size: tuple[float, float] = (WIDTH, HEIGHT),
) -> str:
    """Draw a chart with one x and one y axis, with labels at the right edge.

    ``y_range`` sets the y axis; by default it follows the data, from 0 if ``from_zero``.
    """
    lines = [_thinned(line) for line in lines]
    width, height = size
    labelled = bool(levels or marks or any(line.label for line in lines))
    x = _Scale(*_x_limits(lines, marks), LEFT, width - (LABEL_SPACE if labelled else NO_LABEL_SPACE))
    low, high = y_range or _y_limits(lines, levels, marks, from_zero)
    y = _Scale(low, high, height - BOTTOM, TOP)
    parts = [_span(span, x, y) for span in spans]
    parts += [_grid_line(tick, x, y, unit) for tick in ticks(low, high)]
    parts += [_x_tick(tick, x, y.start) for tick in ticks(x.low, x.high)]
    parts.append(_text((x.start + x.end) / 2, height - 3, x_label, "axis", "middle"))
    parts += [_level(level, x, y) for level in levels]
    parts += [_curve(line, x, y) for line in lines]
    parts += [_mark(mark, x, y, unit) for mark in marks]
    parts += _edge_labels(lines, levels, marks, x, y)
    return _svg(width, height, description, parts)


def histogram_rows(rows: Sequence[Distribution], *, x_label: str, description: str, bins: int = 36) -> str:
    """Draw histograms one below the other on a common x axis, each scaled to its highest bar, with the median."""
    row_height, gap = 52.0, 26.0
    bottom = TOP + len(rows) * (row_height + gap)
    height = bottom + BOTTOM
    longest = max((float(row.values.max()) for row in rows if len(row.values)), default=1.0)
    x = _Scale(0.0, longest * 1.02, 4.0, WIDTH - 8.0)
    edges = np.linspace(x.low, x.high, bins + 1)
    parts = [_x_tick(tick, x, bottom) for tick in ticks(x.low, x.high)]
    parts.append(_text((x.start + x.end) / 2, height - 3, x_label, "axis", "middle"))
    for index, row in enumerate(rows):
        base = TOP + (index + 1) * (row_height + gap)
        parts.append(f'<line class="axis-line" x1="{x.start}" x2="{x.end}" y1="{base:.1f}" y2="{base:.1f}"/>')
        parts.append(_histogram(row, x, edges, base, row_height))
        parts.append(_text(x.end, base - row_height - 8, row.remark, "axis", "end"))
    return _svg(WIDTH, height, description, parts)


def interval(value: float, low: float, high: float, *, end: float, style: str, description: str) -> str:
    """Draw a small dot with whiskers on a track from 0 to ``end``, for a table cell."""
    width, middle = 150.0, 8.0
    x = _Scale(0.0, end, 4.0, width - 4.0)
    return _svg(
        width,
        16.0,
        description,
        [
            f'<line class="track" x1="{x.start}" x2="{x.end}" y1="{middle}" y2="{middle}"/>',
            f'<g class="{style}"><line class="whisker" x1="{x(low):.1f}" x2="{x(high):.1f}" y1="{middle}" '
            f'y2="{middle}"/><circle class="dot" cx="{x(value):.1f}" cy="{middle}" r="4"/></g>',
        ],
        style="interval",
    )


def ticks(low: float, high: float, target: int = 5) -> list[float]:
    """About ``target`` round numbers (steps of 1, 2, 2.5 or 5 × 10ⁿ) from ``low`` to ``high``."""
    raw = (high - low) / target
    magnitude = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * magnitude for factor in (1, 2, 2.5, 5, 10) if factor * magnitude >= raw * 0.999)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(index * step, 12) for index in range(first, last + 1)]


def format_number(value: float) -> str:
    """Short text of an axis value: at most three significant digits, thousands as k."""
    if value and abs(value) >= 10_000:
        return f"{value / 1000:.3g}k"
    if value and abs(value) < 1e-3:
        return f"{value:.0e}".replace("e-0", "e-")
    return f"{value:.4g}".replace("-", "\N{MINUS SIGN}")


def _x_limits(lines: Sequence[Curve], marks: Sequence[Mark]) -> tuple[float, float]:
    values = [float(x) for line in lines if len(line.x) for x in line.x[[0, -1]]]
    values += [mark.x for mark in marks]
    low, high = min(0.0, *values), max(values)
    return low, high if high > low else low + 1.0


def _y_limits(
    lines: Sequence[Curve], levels: Sequence[Level], marks: Sequence[Mark], from_zero: bool
) -> tuple[float, float]:
    values = [line.y for line in lines]
    values += [bound for line in lines if line.band for bound in line.band]
    values.append(np.array([level.y for level in levels]))
    values.append(np.array([bound for mark in marks for bound in (mark.low, mark.high)]))
    known = np.concatenate(values)
    known = known[np.isfinite(known)]
    if not len(known):
        return 0.0, 1.0
    low, high = (0.0 if from_zero else float(known.min())), float(known.max())
    room = (high - low) * 0.06 or abs(high) * 0.1 or 1.0
    return (low if from_zero else low - room), high + room


def _thinned(line: Curve) -> Curve:
    """Reduce a curve to `MAX_POINTS` points: means of neighbours, with exact first and last points."""
    if len(line.x) <= MAX_POINTS or line.steps:
        return line
    pieces = np.array_split(np.arange(1, len(line.x) - 1), MAX_POINTS - 2)

    def means(values: FloatArray) -> FloatArray:
        return np.array([values[0], *(values[piece].mean() for piece in pieces), values[-1]])

    band = None if line.band is None else (means(line.band[0]), means(line.band[1]))
    return Curve(means(line.x), means(line.y), line.style, line.label, band, line.thin)


def _curve(line: Curve, x: _Scale, y: _Scale) -> str:
    parts = [f'<g class="{line.style}">']
    if line.band is not None:
        low, high = line.band
        known = np.isfinite(low) & np.isfinite(high)
        there = [f"{x(a):.1f} {y(b):.1f}" for a, b in zip(line.x[known], high[known], strict=True)]
        back = [f"{x(a):.1f} {y(b):.1f}" for a, b in zip(line.x[known][::-1], low[known][::-1], strict=True)]
        if there:
            parts.append(f'<path class="band" d="M{"L".join([*there, *back])}Z"/>')
    path, drawing = "", False
    for a, b in zip(line.x, line.y, strict=True):
        if not math.isfinite(b):
            drawing = False
            continue
        if drawing and line.steps:
            path += f"H{x(a):.1f}V{y(b):.1f}"
        else:
            path += f"{'L' if drawing else 'M'}{x(a):.1f} {y(b):.1f}"
        drawing = True
    parts.append(f'<path class="{"line thin" if line.thin else "line"}" d="{path}"/></g>')
    return "".join(parts)


def _histogram(row: Distribution, x: _Scale, edges: FloatArray, base: float, height: float) -> str:
    label = _text(x.start, base - height - 8, row.label, "label", "start")
    if not len(row.values):
        return f'<g class="{row.style}">{label}</g>'
    counts, _ = np.histogram(row.values, edges)
    width = x(edges[1]) - x(edges[0]) - 1.0
    bars = "".join(
        f'<rect class="bar" x="{x(edge):.1f}" y="{base - tall:.1f}" width="{width:.1f}" height="{tall:.1f}">'
        f"<title>{count} of {len(row.values)}</title></rect>"
        for edge, count, tall in zip(edges, counts, height * counts / counts.max(), strict=False)
        if count
    )
    median = float(np.median(row.values))
    at = x(median)
    anchor, offset = ("start", 5) if at < x.end - 70 else ("end", -5)
    return (
        f'<g class="{row.style}">{label}{bars}'
        f'<line class="median" x1="{at:.1f}" x2="{at:.1f}" y1="{base - height - 3:.1f}" y2="{base:.1f}"/>'
        f"{_text(at + offset, base - height + 8, f'median {median:.0f}', 'label halo', anchor)}</g>"
    )


def _mark(mark: Mark, x: _Scale, y: _Scale, unit: str) -> str:
    at = x(mark.x)
    text = f"{mark.label}: {mark.y:.3g}{unit} [{mark.low:.3g}, {mark.high:.3g}]"
    return (
        f'<g class="{mark.style}"><title>{escape(text)}</title>'
        f'<line class="whisker" x1="{at:.1f}" x2="{at:.1f}" y1="{y(mark.low):.1f}" y2="{y(mark.high):.1f}"/>'
        f'<circle class="dot" cx="{at:.1f}" cy="{y(mark.y):.1f}" r="5"/></g>'
    )


def _level(level: Level, x: _Scale, y: _Scale) -> str:
    at, text = y(level.y), f"{level.label}: {level.y:.3g}"
    return (
        f'<g class="{level.style}"><title>{escape(text)}</title>'
        f'<line class="level" x1="{x.start}" x2="{x.end}" y1="{at:.1f}" y2="{at:.1f}"/></g>'
    )


def _edge_labels(
    lines: Sequence[Curve], levels: Sequence[Level], marks: Sequence[Mark], x: _Scale, y: _Scale
) -> list[str]:
    wanted = [(y(level.y), level.label, level.style) for level in levels]
    wanted += [(y(mark.y), mark.label, mark.style) for mark in marks]
    for line in lines:
        known = line.y[np.isfinite(line.y)]
        if line.label and len(known):
            wanted.append((y(float(known[-1])), line.label, line.style))
    wanted.sort()
    heights = spread([height for height, _, _ in wanted], LABEL_GAP, y.end, y.start)
    return [
        f'<g class="{style}">{_text(x.end + 9, height + 4, label, "label", "start")}</g>'
        for height, (_, label, style) in zip(heights, wanted, strict=True)
    ]


def spread(heights: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Move sorted ``heights`` apart to at least ``gap``, inside ``low``..``high`` where possible."""
    placed: list[float] = []
    for height in heights:
        placed.append(max(height, placed[-1] + gap) if placed else max(height, low))
    limit = high
    for index in range(len(placed) - 1, -1, -1):
        placed[index] = min(placed[index], limit)
        limit = placed[index] - gap
    return placed


def _span(span: Span, x: _Scale, y: _Scale) -> str:
    start, end = x(span.start), x(span.end)
    box = f'x="{start:.1f}" y="{y.end}" width="{end - start:.1f}" height="{y.start - y.end}"'
    return f'<rect class="span" {box}/>' + _text(start + 6, y.start - 8, span.label, "axis", "start")


def _grid_line(tick: float, x: _Scale, y: _Scale, unit: str) -> str:
    at = y(tick)
    line = f'<line class="grid" x1="{x.start}" x2="{x.end}" y1="{at:.1f}" y2="{at:.1f}"/>'
    return line + _text(x.start - 7, at + 4, format_number(tick) + unit, "axis", "end")


def _x_tick(tick: float, x: _Scale, base: float) -> str:
    return _text(x(tick), base + 16, format_number(tick), "axis", "middle")


def _text(x: float, y: float, text: str, style: str, anchor: str) -> str:
    return f'<text class="{style}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _svg(width: float, height: float, description: str, parts: Sequence[str], style: str = "chart") -> str:
    return (
        f'<svg class="{style}" viewBox="0 0 {width:.0f} {height:.0f}" role="img" '
        f'aria-label="{escape(description)}">{"".join(parts)}</svg>'
    )
