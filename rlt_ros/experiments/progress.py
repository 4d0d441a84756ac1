"""Progress bars of long work."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


@contextmanager
def bar(console: Console, title: str, total: int) -> Iterator[Callable[[int, str], None]]:
    """Show a progress bar; the yielded function advances it by a number and sets the text at its end."""
    columns = (
        TextColumn("{task.description:<20}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=console) as progress:
        bar = progress.add_task(title, total=total, note="")
        yield lambda count, note: progress.update(bar, advance=count, note=note)


@contextmanager
def steps(
    console: Console, title: str, total: int, done: int
) -> Iterator[Callable[[int, Mapping[str, float]], None]]:
    """Show a progress bar of training steps with the losses."""
    with bar(console, title, total) as advance:
        advance(done, "")
        shown = done

        def report(step: int, metrics: Mapping[str, float]) -> None:
            nonlocal shown
            advance(step - shown, "  ".join(f"{name} {value:.4g}" for name, value in metrics.items()))
            shown = step

        yield report
