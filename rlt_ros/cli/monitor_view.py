"""What ``rlt-ros monitor`` knows of a running graph, and the tables it shows."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from statistics import median
from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from rlt_ros.cli.output import number

_PHASES = ("idle", "resetting", "approach: the VLA acts", "critical: the policy acts", "done")
_OUTCOMES = ("", "success", "failure", "time-out", "aborted")
_LEARNER = ("waiting", "learning", "caught up", "paused")
_SOURCES = ("hold", "VLA", "actor", "human")
_SOURCE_COLOURS = ("white", "blue", "dark_orange", "green")
_LEVELS = ("ok", "warning", "error", "stale")
_LEVEL_COLOURS = ("green", "yellow", "red", "magenta")

_ROLLING = 20  # episodes of the rolling figures
_WINDOW = 2.0  # s over which rates are taken
_SILENT = 3.0  # s after which a node that reports once a second counts as silent


class GraphView:
    """Collects messages; their fields are read, their types are not asked for.

    Args:
        clock: steady seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._episode: Any = None
        self._finished: deque[tuple[int, int, int]] = deque(maxlen=_ROLLING)  # episode, outcome, steps
        self._steps = _Rate(clock)
        self._chunks = _Rate(clock)
        self._sources: deque[int] = deque(maxlen=500)
        self._limited, self._latencies = 0, deque[float](maxlen=200)
        self._version = 0
        self._replay: Any = None
        self._learner: Any = None
        self._statuses: dict[str, tuple[float, Any]] = {}

    def on_episode(self, message: Any) -> None:
        """``EpisodeState``."""
        self._episode = message
        if message.phase == len(_PHASES) - 1 and not message.discarded:
            known = [episode for episode, _, _ in self._finished]
            if message.episode not in known:
                self._finished.append((message.episode, message.outcome, message.steps))

    def on_step(self, message: Any) -> None:
        """``ExecutedStep``."""
        self._steps.count()
        self._sources.append(message.source)
        self._limited += bool(message.limits)

    def on_chunk(self, message: Any) -> None:
        """``ActionChunk``."""
        self._chunks.count()
        self._version = message.version or self._version
        self._latencies.append(message.latency.sec + 1e-9 * message.latency.nanosec)

    def on_replay(self, message: Any) -> None:
        """``ReplayStatus``."""
        self._replay = message

    def on_learner(self, message: Any) -> None:
        """``LearnerStatus``."""
        self._learner = message

    def on_diagnostics(self, message: Any) -> None:
        """``DiagnosticArray``."""
        now = self._clock()
        for status in message.status:
            self._statuses[status.name] = (now, status)

    def figures(self) -> dict[str, Any]:
        """Everything as plain values, for programs."""
        counts = Counter(self._sources)
        successes = [steps for _, outcome, steps in self._finished if outcome == 1]
        metrics = self._metrics()
        state, replay, learner = self._episode, self._replay, self._learner
        return {
            "episode": state and state.episode,
            "phase": state and _PHASES[state.phase].partition(":")[0],
            "eval": state and bool(state.eval),
            "task": state and state.task,
            "finished": len(self._finished),
            "success_rate": len(successes) / len(self._finished) if self._finished else None,
            "median_steps": float(median(successes)) if successes else None,
            "steps_per_second": self._steps.value(),
            "chunks_per_second": self._chunks.value(),
            "latency_ms": 1e3 * median(self._latencies) if self._latencies else None,
            "limited_steps": self._limited,
            "share": {name: counts[i] / len(self._sources) for i, name in enumerate(_SOURCES) if counts[i]},
            "policy_version": self._version,
            "replay_rows": replay and replay.rows,
            "replay_rejected": replay and replay.rejected,
            "successes": replay and replay.successes,
            "failures": replay and replay.failures,
            "learner": learner and _LEARNER[learner.state],
            "waiting_for": learner and learner.waiting_for,
            "critic_steps": learner and learner.critic_steps,
            "updates_per_second": learner and float(learner.rate),
            "owed": learner and float(learner.owed),
            "q": metrics.get("q"),
            "beta": metrics.get("beta"),
            "problems": {name: text for name, _, text in self._problems()},
        }

    def render(self) -> Group:
        """The tables of this moment."""
        return Group(self._run_table(), self._node_table())

    def _run_table(self) -> Table:
        figures = self.figures()
        table = Table.grid(padding=(0, 3))
        table.add_column(style="bold")
        table.add_column(min_width=30)
        table.add_column(style="bold")
        table.add_column()
        state = self._episode
        if state is None:
            phase = "no episode node is there"
        else:
            outcome = f" ({_OUTCOMES[state.outcome]})" if state.outcome else ""
            phase = (
                f"{state.episode}  {_PHASES[state.phase]}{outcome}{'  · evaluation' if state.eval else ''}"
            )
        rate = figures["success_rate"]
        rows = (
            ("episode", phase, "task", figures["task"] or "–"),
            (
                f"success of last {figures['finished']}",
                number(None if rate is None else 100 * rate, 0, " %"),
                "median steps",
                number(figures["median_steps"], 0),
            ),
            (
                "control",
                number(figures["steps_per_second"], 1, " steps/s"),
                "chunks",
                f"{number(figures['chunks_per_second'], 1, ' /s')}, {number(figures['latency_ms'], 1, ' ms')}",
            ),
            ("who acts", self._shares(figures["share"]), "limited steps", str(self._limited)),
            (
                "replay",
                f"{_whole(figures['replay_rows'])} rows, {_whole(figures['replay_rejected'])} rejected",
                "labels",
                f"{_whole(figures['successes'])} successes, {_whole(figures['failures'])} failures",
            ),
            (
                "learner",
                " ".join(filter(None, (figures["learner"] or "–", figures["waiting_for"]))),
                "updates",
                f"{_whole(figures['critic_steps'])}, {number(figures['updates_per_second'], 0, ' /s')}",
            ),
            (
                "Q, β",
                f"{number(figures['q'], 3)}, {number(figures['beta'], 4)}",
                "owed",
                f"{number(figures['owed'], 0)}, policy {figures['policy_version']}",
            ),
        )
        for row in rows:
            table.add_row(*row)
        return table

    def _shares(self, share: Mapping[str, float]) -> Text:
        text = Text()
        for name, colour in zip(_SOURCES, _SOURCE_COLOURS, strict=True):
            if name in share:
                text.append(f"{name} {100 * share[name]:.0f} %  ", style=colour)
        return text or Text("–")

    def _node_table(self) -> Table:
        table = Table(
            title="diagnostics", title_justify="left", title_style="bold", box=None, padding=(0, 3, 0, 0)
        )
        table.add_column("node")
        table.add_column("")
        table.add_column("says")
        problems = {name: (level, text) for name, level, text in self._problems()}
        for node in sorted({name.partition(":")[0] for name in self._statuses}):
            mine = [(name, *problem) for name, problem in problems.items() if name.partition(":")[0] == node]
            if not mine:
                table.add_row(node, Text(_LEVELS[0], style=_LEVEL_COLOURS[0]), "")
            for name, level, text in mine:
                task = name.partition(": ")[2]
                table.add_row(node, Text(_LEVELS[level], style=_LEVEL_COLOURS[level]), f"{task}: {text}")
        return table

    def _problems(self) -> list[tuple[str, int, str]]:
        """(status, level, text) of what is not as it should be."""
        now, found = self._clock(), []
        for name, (seen, status) in sorted(self._statuses.items()):
            level = int.from_bytes(status.level, "little")
            if now - seen > _SILENT:
                found.append((name, 3, f"silent for {now - seen:.0f} s"))
            elif level:
                found.append((name, level, status.message))
        return found

    def _metrics(self) -> dict[str, float]:
        if self._learner is None:
            return {}
        return {name: float(value) for name, value in zip(self._learner.metrics, self._learner.values)}  # noqa: B905


class _Rate:
    """Events a second over the last moments."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._times: deque[float] = deque()

    def count(self) -> None:
        self._times.append(self._clock())

    def value(self) -> float:
        start = self._clock() - _WINDOW
        while self._times and self._times[0] < start:
            self._times.popleft()
        return len(self._times) / _WINDOW


def _whole(value: int | None) -> str:
    return "–" if value is None else f"{value:,}"
