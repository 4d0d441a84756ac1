"""State of a running graph and its tables, for ``rlt-ros monitor``."""

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

# Episodes of the rolling figures.
_ROLLING_EPISODES = 20
# s, window of the rates.
_RATE_WINDOW = 2.0
# s after which the diagnostics of a node, published once per second, are stale.
_STALE_AFTER = 3.0


class GraphView:
    """Collector of messages, by their fields alone.

    Args:
        clock: steady time, s.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._episode: Any = None
        # Episode, outcome and steps.
        self._finished: deque[tuple[int, int, int]] = deque(maxlen=_ROLLING_EPISODES)
        self._steps = _Rate(clock)
        self._chunks = _Rate(clock)
        self._sources: deque[int] = deque(maxlen=500)
        self._limited, self._latencies = 0, deque[float](maxlen=200)
        self._version = 0
        self._replay: Any = None
        self._learner: Any = None
        self._statuses: dict[str, tuple[float, Any]] = {}

    def on_episode(self, message: Any) -> None:
        """Accept an ``EpisodeState``."""
        self._episode = message
        if message.phase == len(_PHASES) - 1 and not message.discarded:
            known = [episode for episode, _, _ in self._finished]
            if message.episode not in known:
                self._finished.append((message.episode, message.outcome, message.steps))

    def on_step(self, message: Any) -> None:
        """Accept an ``ExecutedStep``."""
        self._steps.count()
        self._sources.append(message.source)
        self._limited += bool(message.limits)

    def on_chunk(self, message: Any) -> None:
        """Accept an ``ActionChunk``."""
        self._chunks.count()
        self._version = message.version or self._version
        self._latencies.append(message.latency.sec + 1e-9 * message.latency.nanosec)

    def on_replay(self, message: Any) -> None:
        """Accept a ``ReplayStatus``."""
        self._replay = message

    def on_learner(self, message: Any) -> None:
        """Accept a ``LearnerStatus``."""
        self._learner = message

    def on_diagnostics(self, message: Any) -> None:
        """Accept a ``DiagnosticArray``."""
        now = self._clock()
        for status in message.status:
            self._statuses[status.name] = (now, status)

    def figures(self) -> dict[str, Any]:
        """All figures as plain values, for ``--json``."""
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
        """Current tables."""
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
            phase = "no episode node"
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
            ("acting", self._shares(figures["share"]), "limited steps", str(self._limited)),
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
                "update debt",
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
        table.add_column("message")
        problems = {name: (level, text) for name, level, text in self._problems()}
        for node in sorted({name.partition(":")[0] for name in self._statuses}):
            of_node = [
                (name, *problem) for name, problem in problems.items() if name.partition(":")[0] == node
            ]
            if not of_node:
                table.add_row(node, Text(_LEVELS[0], style=_LEVEL_COLOURS[0]), "")
            for name, level, text in of_node:
                task = name.partition(": ")[2]
                table.add_row(node, Text(_LEVELS[level], style=_LEVEL_COLOURS[level]), f"{task}: {text}")
        return table

    def _problems(self) -> list[tuple[str, int, str]]:
        """Name, level and text of all diagnostics that are stale or not ok."""
        now, found = self._clock(), []
        for name, (seen, status) in sorted(self._statuses.items()):
            level = int.from_bytes(status.level, "little")
            if now - seen > _STALE_AFTER:
                found.append((name, 3, f"no message for {now - seen:.0f} s"))
            elif level:
                found.append((name, level, status.message))
        return found

    def _metrics(self) -> dict[str, float]:
        if self._learner is None:
            return {}
        return {name: float(value) for name, value in zip(self._learner.metrics, self._learner.values)}  # noqa: B905


class _Rate:
    """Rate of events in the last seconds, 1/s."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._times: deque[float] = deque()

    def count(self) -> None:
        self._times.append(self._clock())

    def value(self) -> float:
        start = self._clock() - _RATE_WINDOW
        while self._times and self._times[0] < start:
            self._times.popleft()
        return len(self._times) / _RATE_WINDOW


def _whole(value: int | None) -> str:
    return "–" if value is None else f"{value:,}"
