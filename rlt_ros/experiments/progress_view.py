"""Live progress of a run: a current line in the terminal, periodic permanent lines, and TensorBoard."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn

from rlt_ros.episodes.narration import ROLLING, Goal, Narrator
from rlt_ros.experiments.curves import Curves
from rlt_ros.learning.run_folder import TRAINING_PHASES, unaided

_LINE_PERIOD = 10
"""Episodes between two permanent lines."""


class ProgressView:
    """Display of a running run: a current line, permanent lines, and TensorBoard.

    Args:
        folder: folder of the run, for TensorBoard logs.
        goals: phases of the run.
        records: growing lines of ``episodes.jsonl``.
    """

    def __init__(self, folder: Path, goals: Sequence[Goal], records: Sequence[Mapping[str, Any]]) -> None:
        self._learner: Mapping[str, Any] = {}
        self._narrator, self._records = Narrator(goals, records), records
        self._curves = Curves(folder / "tensorboard")
        self._console = Console(stderr=True)
        self._bar = Progress(
            SpinnerColumn(), TextColumn("{task.description}"), console=self._console, transient=True
        )
        self._bar.start()
        self._task = self._bar.add_task("", total=None)
        self._line(self._narrator.opening(records))

    def episode(self) -> None:
        """Show the newest record."""
        record = self._records[-1]
        current, *phase = self._narrator.after(self._records)
        self._bar.update(self._task, description=current + self._of_learner())
        if len(self._records) % _LINE_PERIOD == 0:
            self._line(current + self._of_learner())
        for line in phase:
            self._line(line)
        if record["phase"] in TRAINING_PHASES:
            recent = [r for r in self._records if r["phase"] == record["phase"]][-ROLLING:]
            success = sum(unaided(r) for r in recent) / len(recent)
            for name, value in (("success", float(unaided(record))), ("steps", record["steps"])):
                self._curves.add(f"episode/{name}", value, record["episode"])
            self._curves.add("episode/rolling_success", success, record["episode"])

    def note(self, text: str) -> None:
        """Print a permanent line."""
        self._line(text)

    def measured(self, record: Mapping[str, Any]) -> None:
        """Show a measurement of the learner."""
        self._learner = record
        for name, value in record.items():
            self._curves.add(f"learner/{name}", value, record["updates"])

    def close(self) -> None:
        """Stop the display and close the logs."""
        self._bar.stop()
        self._curves.close()

    def _line(self, text: str) -> None:
        """Print a permanent line without wrapping."""
        self._console.print(text, soft_wrap=True, highlight=False)

    def _of_learner(self) -> str:
        now = self._learner
        if not now:
            return ""
        return f"; Q {now['q']:.2f}, β {now.get('beta', 0.0):.3f}, {now['utd_debt']:.0f} updates owed"
