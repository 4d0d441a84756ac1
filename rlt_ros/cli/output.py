"""What the sub-commands print: one JSON object for programs, plain tables for people."""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

EXIT_ERROR = 2
"""Exit status of a command that could not do its work; the reason is the last line."""

EXIT_EMPTY = 3
"""Exit status of a command that made no rows from its input: nothing failed, and nothing came of it."""

_REASONS = 3
"""Reasons of an empty result in its message; all of them are in the report."""

_NO_LIMIT = 10_000  # columns of what is no terminal: a line of a file is as long as it has to be


def print_json(result: Mapping[str, Any]) -> None:
    """Print ``result`` as one JSON object on one line, so that ``| tail -n 1`` finds it."""
    print(json.dumps(jsonable(result), allow_nan=False), flush=True)


def jsonable(value: Any) -> Any:
    """``value`` with paths as text, NumPy and torch values as numbers, and NaN or infinity as null."""
    if isinstance(value, Mapping):
        return {str(key): jsonable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [jsonable(item) for item in value]
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "tolist"):
        return jsonable(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def number(value: float | None, digits: int = 2, unit: str = "") -> str:
    """``value`` for a person; a dash where there is none."""
    if value is None or not math.isfinite(value):
        return "–"
    return f"{value:,.{digits}f}{unit}"


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]], *, title: str = "") -> None:
    """Print a table on the standard output: names at the left, values aligned to the right, nothing cut off.

    A table that is wider than the terminal (or ``COLUMNS``) is printed row by row.
    """
    from rich.console import Console
    from rich.measure import Measurement
    from rich.table import Table

    table = Table(title=title or None, title_justify="left", title_style="bold")
    for index, column in enumerate(columns):
        table.add_column(column, justify="left" if index == 0 else "right", overflow="fold")
    kept = [tuple(row) for row in rows]
    for row in kept:
        table.add_row(*row)
    width = None if sys.stdout.isatty() or os.environ.get("COLUMNS") else _NO_LIMIT
    console = Console(width=width)
    if Measurement.get(console, console.options.update(max_width=_NO_LIMIT), table).maximum <= console.width:
        console.print(table)
        return
    # Too wide: a block per row reads better than columns of a few letters.
    if title:
        console.print(title, style="bold", highlight=False)
    names = max(len(column) for column in columns[1:]) if len(columns) > 1 else 0
    for first, *cells in kept:
        console.print(first, style="bold", highlight=False, markup=False)
        for column, cell in zip(columns[1:], cells, strict=True):
            console.print(
                f"  {column:<{names}}  {' '.join(cell.split(chr(10)))}", highlight=False, markup=False
            )


def print_mapping(result: Mapping[str, Any]) -> None:
    """Print named figures as a table of two columns; what is nested gets a dotted name."""
    print_table(("", "value"), [(name, _text(value)) for name, value in _flat(jsonable(result))])


def exit_empty(what: str, reasons: Sequence[str]) -> int:
    """Print on the standard error that there are no rows, and the reasons; returns `EXIT_EMPTY`.

    Args:
        what: input and what it did not give, e.g. ``no rows from bag``.
        reasons: the most important first.
    """
    rest = len(reasons) - _REASONS
    shown = "; ".join(reasons[:_REASONS]) or "the input holds nothing that could be used"
    print(f"error: {what}: {shown}{f'; and {rest} more' if rest > 0 else ''}", file=sys.stderr)
    return EXIT_EMPTY


def _flat(result: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, Any]]:
    for key, value in result.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _text(value: Any) -> str:
    return f"{value:,.4g}" if isinstance(value, float) else str(value)
