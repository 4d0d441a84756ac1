"""Frame of a report: one HTML file with its style and without external resources."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any

from rlt_ros.store.storage import replacing

NAMES = {"base": "frozen VLA", "demo": "demonstrator", "rlt": "RLT"}

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<style>
{style}
</style>
</head>
<body>
<main>
{body}
</main>
</body>
</html>
"""


def write_page(path: Path, title: str, sections: Iterable[str]) -> Path:
    """Write the page atomically.

    Raises:
        StorageError: the disk is full, or the folder cannot be written to; the old page is untouched.
    """
    style = files("rlt_ros.report").joinpath("assets/report.css").read_text(encoding="utf-8")
    page = _PAGE.format(title=escape(title), style=style, body="\n".join(sections))
    with replacing(path) as part:
        part.write_text(page, encoding="utf-8")
    return path


def header(eyebrow: str, title: str, lead: str) -> str:
    """Top of the page; ``lead`` is HTML."""
    return (
        f'<header><p class="eyebrow">{escape(eyebrow)}</p><h1>{escape(title)}</h1>'
        f'<p class="lead">{lead}</p></header>'
    )


def section(title: str, text: str, *content: str) -> str:
    """Section with an introduction; ``text`` and ``content`` are HTML."""
    return f"<section><h2>{escape(title)}</h2><p>{text}</p>{''.join(content)}</section>"


def tiles(items: Sequence[tuple[str, str, str]]) -> str:
    """Large figures: ``(value, name, remark)``."""
    cells = "".join(
        f'<div class="tile"><p class="value">{escape(value)}</p><p class="name">{escape(name)}</p>'
        f'<p class="remark">{escape(remark)}</p></div>'
        for value, name, remark in items
    )
    return f'<div class="tiles">{cells}</div>'


def grid(*figures: str, small: bool = False) -> str:
    """Row of two figures, or of three ``small`` ones, where the page is wide enough."""
    return f'<div class="{"grid small" if small else "grid"}">{"".join(figures)}</div>'


def figure(content: str, title: str, text: str = "") -> str:
    """Chart (SVG) or film with a title and an explanation."""
    note = f"<small>{escape(text)}</small>" if text else ""
    return f"<figure><figcaption>{escape(title)}{note}</figcaption>{content}</figure>"


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Table with HTML cells; the first of a row is its name."""
    head = "".join(f'<th scope="col">{escape(column)}</th>' for column in columns)
    body = "".join(
        f'<tr><th scope="row">{first}</th>{"".join(f"<td>{cell}</td>" for cell in cells)}</tr>'
        for first, *cells in rows
    )
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def policy_name(policy: str) -> str:
    """Name of a policy with its colour, as HTML."""
    return f'<span class="key {policy}"></span>{NAMES[policy]}'


def facts(mapping: Mapping[str, Any]) -> str:
    """Definition list of names and values, e.g. versions."""
    items = "".join(
        f"<div><dt>{escape(name)}</dt><dd>{escape(value_text(value))}</dd></div>"
        for name, value in mapping.items()
    )
    return f'<dl class="facts">{items}</dl>'


def settings(config: Mapping[str, Any]) -> str:
    """Settings, one folded table per section."""
    plain = {key: value for key, value in config.items() if not isinstance(value, Mapping)}
    groups = {key: value for key, value in config.items() if isinstance(value, Mapping)}
    if plain:
        groups = {"experiment": plain, **groups}
    return "".join(
        f"<details><summary>{escape(name)} <span>{len(values)}</span></summary>{facts(values)}</details>"
        for name, values in groups.items()
    )


def value_text(value: Any) -> str:
    """Text of a setting as in a YAML file."""
    if isinstance(value, str):
        return value
    if isinstance(value, float):
        return f"{value:.6g}"
    return json.dumps(value)


def percent(rate: float) -> str:
    """Rate 0..1 as a whole percentage, with a decimal where rounding would give 0 or 100 %."""
    rounded = round(100 * rate)
    if (rounded == 100 and rate < 1) or (rounded == 0 and rate > 0):
        return f"{100 * rate:.1f} %"
    return f"{rounded} %"


def times(ratio: float | None) -> str:
    """Ratio, e.g. ``5.2×``; a dash without a base value."""
    return "–" if ratio is None or not math.isfinite(ratio) else f"{ratio:.1f}×"


def points(share: float | None) -> str:
    """Difference of rates 0..1 in percentage points; ``not measured`` for None."""
    return "not measured" if share is None else f"{100 * share:.0f} points"


def whole(value: float | None) -> str:
    """Count or median of steps; a dash for None."""
    return "–" if value is None else f"{value:,.0f}"
