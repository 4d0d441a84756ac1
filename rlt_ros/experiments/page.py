"""The frame of a report: one HTML file with its style inside and no address of anything outside."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any

from rlt_ros.rlt.storage import replacing

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
    """Write the page in one step: a reader sees the old page or the new one, never half of it.

    Raises:
        StorageError: the disk is full, or the folder cannot be written to; the old page is untouched.
    """
    style = files("rlt_ros.experiments").joinpath("assets/report.css").read_text(encoding="utf-8")
    page = _PAGE.format(title=escape(title), style=style, body="\n".join(sections))
    with replacing(path) as part:
        part.write_text(page, encoding="utf-8")
    return path


def header(eyebrow: str, title: str, lead: str) -> str:
    """The top of the page; ``lead`` is HTML."""
    return (
        f'<header><p class="eyebrow">{escape(eyebrow)}</p><h1>{escape(title)}</h1>'
        f'<p class="lead">{lead}</p></header>'
    )


def section(title: str, text: str, *content: str) -> str:
    """A section with an introduction; ``text`` and ``content`` are HTML."""
    return f"<section><h2>{escape(title)}</h2><p>{text}</p>{''.join(content)}</section>"


def tiles(items: Sequence[tuple[str, str, str]]) -> str:
    """Big figures: ``(value, name, remark)``."""
    cells = "".join(
        f'<div class="tile"><p class="value">{escape(value)}</p><p class="name">{escape(name)}</p>'
        f'<p class="remark">{escape(remark)}</p></div>'
        for value, name, remark in items
    )
    return f'<div class="tiles">{cells}</div>'


def grid(*figures: str, small: bool = False) -> str:
    """Figures side by side where there is room: two, or three ``small`` ones."""
    return f'<div class="{"grid small" if small else "grid"}">{"".join(figures)}</div>'


def figure(content: str, title: str, text: str = "") -> str:
    """A chart (SVG) or film with its title above and an explanation below."""
    note = f"<small>{escape(text)}</small>" if text else ""
    return f"<figure><figcaption>{escape(title)}{note}</figcaption>{content}</figure>"


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; the cells are HTML, the first of a row names it."""
    head = "".join(f'<th scope="col">{escape(column)}</th>' for column in columns)
    body = "".join(
        f'<tr><th scope="row">{first}</th>{"".join(f"<td>{cell}</td>" for cell in cells)}</tr>'
        for first, *cells in rows
    )
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def policy_name(policy: str) -> str:
    """The policy's name with its colour before it, as HTML."""
    return f'<span class="key {policy}"></span>{NAMES[policy]}'


def facts(mapping: Mapping[str, Any]) -> str:
    """Names and values, e.g. versions, as a list of definitions."""
    items = "".join(
        f"<div><dt>{escape(name)}</dt><dd>{escape(value_text(value))}</dd></div>"
        for name, value in mapping.items()
    )
    return f'<dl class="facts">{items}</dl>'


def settings(config: Mapping[str, Any]) -> str:
    """Every setting, a folded table a section."""
    plain = {key: value for key, value in config.items() if not isinstance(value, Mapping)}
    groups = {key: value for key, value in config.items() if isinstance(value, Mapping)}
    if plain:
        groups = {"experiment": plain, **groups}
    return "".join(
        f"<details><summary>{escape(name)} <span>{len(values)}</span></summary>{facts(values)}</details>"
        for name, values in groups.items()
    )


def value_text(value: Any) -> str:
    """A setting as it would stand in a YAML file."""
    if isinstance(value, str):
        return value
    if isinstance(value, float):
        return f"{value:.6g}"
    return json.dumps(value)


def percent(rate: float) -> str:
    """A rate 0..1 as a whole percentage; 99.6 % is not 100 %."""
    rounded = round(100 * rate)
    if (rounded == 100 and rate < 1) or (rounded == 0 and rate > 0):
        return f"{100 * rate:.1f} %"
    return f"{rounded} %"


def times(ratio: float | None) -> str:
    """A ratio, e.g. ``5.2×``; a dash where the base has nothing to compare with."""
    return "–" if ratio is None or not math.isfinite(ratio) else f"{ratio:.1f}×"


def points(share: float | None) -> str:
    """A difference of rates 0..1 in percentage points; what was not measured is said so."""
    return "not measured" if share is None else f"{100 * share:.0f} points"


def whole(value: float | None) -> str:
    """A count or a median of steps; a dash where there is none."""
    return "–" if value is None else f"{value:,.0f}"
