"""Output of the sub-commands: one JSON object for programs, plain tables for users."""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

EXIT_ERROR = 2
"""Exit status of a failed command; the reason is the last line."""

EXIT_EMPTY = 3
"""Exit status of a command without failure and without results."""

# Reasons of an empty result in its message; the report has all of them.
_MAX_REASONS = 3
# Columns of an output other than a terminal, for lines of any length.
_FILE_WIDTH = 10_000


def print_json(result: Mapping[str, Any]) -> None:
    """Print ``result`` as one JSON object on one line, for ``| tail -n 1``."""
    print(json.dumps(jsonable(result), allow_nan=False), flush=True)


def jsonable(value: Any) -> Any:
    """Convert ``value``: paths to text, NumPy and torch values to numbers, NaN and infinity to null."""
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
    """Format a number; a dash for None, NaN and infinity."""
    if value is None or not math.isfinite(value):
        return "–"
    return f"{value:,.{digits}f}{unit}"


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]], *, title: str = "") -> None:
    """Print a table on the standard output: names at the left, values at the right, without cutting.

    A table wider than the terminal (or ``COLUMNS``) is printed row by row.
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
    width = None if sys.stdout.isatty() or os.environ.get("COLUMNS") else _FILE_WIDTH
    console = Console(width=width)
    if (
        Measurement.get(console, console.options.update(max_width=_FILE_WIDTH), table).maximum
        <= console.width
    ):
        console.print(table)
        return
    # Too wide: a block per row is more readable than columns of a few letters.
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
    """Print named figures as a table of two columns; nested figures have dotted names."""
    print_table(("", "value"), [(name, _text(value)) for name, value in _flat(jsonable(result))])


def exit_empty(problem: str, reasons: Sequence[str]) -> int:
    """Print an empty result and its reasons on the standard error; return `EXIT_EMPTY`.

    Args:
        problem: of the input, e.g. ``no rows from bag``.
        reasons: most important first.
    """
    rest = len(reasons) - _MAX_REASONS
    shown = "; ".join(reasons[:_MAX_REASONS]) or "the input has no usable data"
    print(f"error: {problem}: {shown}{f'; and {rest} more' if rest > 0 else ''}", file=sys.stderr)
    return EXIT_EMPTY


def _flat(result: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, Any]]:
    for key, value in result.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _text(value: Any) -> str:
    return f"{value:,.4g}" if isinstance(value, float) else str(value)
