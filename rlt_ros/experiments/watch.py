"""Live progress of a run: a line in the terminal that is always current, one line now and then, and TensorBoard."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from torch.utils.tensorboard import SummaryWriter

from rlt_ros.rlt.run_folder import TRAINING_PHASES, unaided

_LINE_EVERY = 10  # training episodes between two lines that stay
_NAMES = {
    "eval_base": "evaluating the frozen VLA",
    "demo": "evaluating the demonstrator",
    "eval_rlt": "evaluating RLT",
}


class Watch:
    """Shows a run while it goes on.

    Args:
        folder: of the run; TensorBoard logs go below it.
        rolling: episodes of the rolling figures.
    """

    def __init__(self, folder: Path, rolling: int) -> None:
        self._recent: deque[Mapping[str, Any]] = deque(maxlen=rolling)
        self._learner: Mapping[str, Any] = {}
        self._budget, self._base_rate = 0.0, 0.0
        self._writer = SummaryWriter(str(folder / "tensorboard"))
        self._console = Console(stderr=True)
        self._bar = Progress(
            TextColumn("[bold]{task.description}"),
            BarColumn(24),
            TextColumn("{task.fields[note]}"),
            TimeElapsedColumn(),
            console=self._console,
            transient=True,
        )
        self._bar.start()
        self._task = self._bar.add_task("", total=None, note="")

    def evaluating(self, phase: str, count: int) -> None:
        """An evaluation of `count` episodes begins."""
        self._recent.clear()
        if count:
            self._bar.reset(self._task, total=count, description=_NAMES[phase], note="")

    def begin(self, budget: float, base_rate: float) -> None:
        """Training begins with a budget of robot minutes; `base_rate` is the frozen VLA's success rate."""
        self._budget, self._base_rate = budget, base_rate
        self._recent.clear()
        self._bar.reset(self._task, total=budget, description="learning", note="")
        self._line(f"frozen VLA succeeds in {100 * base_rate:.0f} % of the evaluation episodes")

    def episode(self, record: Mapping[str, Any]) -> None:
        """An episode has ended."""
        if record["phase"] not in TRAINING_PHASES:
            self._recent.append(record)
            self._bar.update(self._task, advance=1, note=self._figures())
            return
        if self._recent and self._recent[-1]["phase"] != record["phase"]:
            self._recent.clear()
        self._recent.append(record)
        minutes = record["robot_minutes"]
        self._bar.update(
            self._task,
            completed=minutes,
            note=f"{minutes:.1f} of {self._budget:g} robot min · {self._figures()}",
        )
        for name, value in (("success", float(unaided(record))), ("steps", record["steps"])):
            self._writer.add_scalar(f"episode/{name}", value, record["episode"])
        self._writer.add_scalar("episode/rolling_success", self._success(), record["episode"])
        if (record["episode"] + 1) % _LINE_EVERY == 0:
            self._line(f"{minutes:5.1f} robot min  {record['phase']:<7} {self._figures()}")

    def measured(self, record: Mapping[str, Any]) -> None:
        """The learner was measured."""
        self._learner = record
        for name, value in record.items():
            self._writer.add_scalar(f"learner/{name}", value, record["updates"])

    def close(self) -> None:
        """Stop drawing and write out the logs."""
        self._bar.stop()
        self._writer.close()

    def _line(self, text: str) -> None:
        """A line that stays, whole even where the terminal is narrow or the output a file."""
        self._console.print(text, soft_wrap=True, highlight=False)

    def _success(self) -> float:
        return sum(unaided(r) for r in self._recent) / max(1, len(self._recent))

    def _figures(self) -> str:
        steps = [r["steps"] for r in self._recent if unaided(r)]
        text = f"success {100 * self._success():3.0f} %  median steps {median(steps) if steps else float('nan'):3.0f}"
        if self._learner:
            now = self._learner
            text += f"  Q {now['q']:.2f}  β {now.get('beta', 0.0):.3f}  owed {now['utd_debt']:.0f}"
        return text
