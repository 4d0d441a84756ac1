"""Progress lines of a run: phase k of n, each episode next to the VLA's figures, a summary per phase."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from rlt_ros.learning.run_folder import TRAINING_PHASES, of_phase, unaided

Record = Mapping[str, Any]
"""One line of ``episodes.jsonl``."""

ROLLING = 20
"""Episodes in rolling figures."""

TITLES = {
    "eval_base": "evaluation of the frozen VLA",
    "demo": "evaluation of the demonstrator",
    "train": "learning",
    "warmup": "collection by the frozen VLA",
    "eval_rlt": "evaluation of the policy",
}
"""Kind of a phase → its name in progress lines."""

_ACTORS = {
    "eval_base": "VLA",
    "demo": "demonstrator",
    "warmup": "VLA (warm-up)",
    "online": "policy",
    "eval_rlt": "policy",
}
_ENDS = {
    "success": "success",
    "failure": "failure",
    "timeout": "out of time",
    "no_approach": "the VLA did not reach the critical phase",
    "aborted": "aborted",
}


@dataclass(frozen=True)
class Goal:
    """One phase of a run.

    Attributes:
        kind: key of `TITLES`.
        episodes: number of episodes; None if minutes are given, or without end.
        minutes: min of robot time in the critical phase; None if episodes are given, or without end.
    """

    kind: str
    episodes: int | None = None
    minutes: float | None = None

    def records(self, records: Sequence[Record]) -> list[Record]:
        """Episodes of this phase."""
        if self.kind in ("train", "warmup"):
            return [record for record in records if record["phase"] in TRAINING_PHASES]
        return of_phase(records, self.kind)

    def done(self, records: Sequence[Record]) -> float:
        """Number of finished episodes or robot minutes."""
        mine = self.records(records)
        if self.minutes is None:
            return float(len(mine))
        return max((float(record["robot_minutes"]) for record in mine), default=0.0)

    @property
    def amount(self) -> float | None:
        """Required episodes or robot minutes; None without end."""
        return self.minutes if self.minutes is not None else self.episodes

    def progress(self, records: Sequence[Record]) -> str:
        """Describe the finished share of the phase."""
        done = self.done(records)
        if self.minutes is not None:
            return f"{done:.1f} of {self.minutes:g} robot minutes"
        return f"{done:.0f} episodes" if self.episodes is None else f"{done:.0f} of {self.episodes} episodes"


class Narrator:
    """Progress lines of a run.

    Args:
        goals: its phases in order.
        records: lines of ``episodes.jsonl`` until now.
        clock: steady clock, s, for the remaining time.
    """

    def __init__(
        self, goals: Sequence[Goal], records: Sequence[Record], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._goals, self._clock = tuple(goals), clock
        self._index = self._current(records)
        self._restart(records)

    def opening(self, records: Sequence[Record]) -> str:
        """Line about the current phase, or about the end of the last one."""
        if self._index is None:
            return "all phases are done"
        goal = self._goals[self._index]
        return f"phase {self._index + 1} of {len(self._goals)}: {TITLES[goal.kind]}, {goal.progress(records)}"

    def after(self, records: Sequence[Record], reason: str = "") -> list[str]:
        """Lines after the newest of ``records`` was added: the episode, and a phase that ends or begins with it."""
        record = records[-1]
        why = f" ({reason})" if reason else ""
        parts = [f"episode {record['episode']}: {outcome(record)}{why}", figures(records, record["phase"])]
        if self._index is not None:
            goal = self._goals[self._index]
            parts.append(f"{goal.progress(records)}{self._left(goal, records)}")
        lines = ["; ".join(filter(None, parts))]
        now = self._current(records)
        if now != self._index and self._index is not None:
            lines.append(self._summary(self._index, records))
            self._index = now
            self._restart(records)
            lines.append(self.opening(records))
        return lines

    def _current(self, records: Sequence[Record]) -> int | None:
        for index, goal in enumerate(self._goals):
            if goal.amount is None or goal.done(records) < goal.amount:
                return index
        return None

    def _restart(self, records: Sequence[Record]) -> None:
        """Restart the estimate of the remaining time."""
        self._since = self._clock()
        self._before = 0.0 if self._index is None else self._goals[self._index].done(records)

    def _left(self, goal: Goal, records: Sequence[Record]) -> str:
        done = goal.done(records)
        if goal.amount is None or done <= self._before or done >= goal.amount:
            return ""
        seconds = (goal.amount - done) * (self._clock() - self._since) / (done - self._before)
        return f", about {duration(seconds)} left"

    def _summary(self, index: int, records: Sequence[Record]) -> str:
        goal = self._goals[index]
        mine = goal.records(records)
        text = f"phase {index + 1} of {len(self._goals)} done: {TITLES[goal.kind]}"
        if goal.kind != "train":
            return f"{text}: {rate(mine)}"
        steps = sum(record["steps"] for record in mine) or 1
        helped = sum(record["steps"] * record["human_share"] for record in mine) / steps
        online = [record for record in mine if record["phase"] == "online"][-ROLLING:]
        last = f"last {len(online)}: policy {rate(online)}" if online else "the policy has not acted yet"
        return f"{text}, {len(mine)} episodes, {100 * helped:.0f} % of the robot time by the operator; {last}"


def outcome(record: Record) -> str:
    """Describe the outcome of an episode; human help makes it a failure of the policy."""
    steps = f" after {record['steps']} steps" if record["steps"] else ""
    if record["human_share"]:
        how = "finished" if record["success"] else "not finished either"
        return f"failure of the policy, {how} by the operator{steps}"
    return f"{_ENDS.get(record.get('end', ''), 'success' if record['success'] else 'failure')}{steps}"


def figures(records: Sequence[Record], phase: str) -> str:
    """Rolling success and steps of a phase's newest episodes, next to the frozen VLA's."""
    recent = [record for record in records if record["phase"] == phase][-ROLLING:]
    if not recent:
        return ""
    text = f"last {len(recent)}: {_ACTORS.get(phase, phase)} {rate(recent)}"
    base = of_phase(records, "eval_base")
    return f"{text}, VLA {rate(base)}" if base and phase in ("online", "eval_rlt") else text


def rate(records: Sequence[Record]) -> str:
    """Share of unaided successes and their median steps."""
    steps = [record["steps"] for record in records if unaided(record)]
    share = f"{100 * len(steps) / max(1, len(records)):.0f} %"
    return f"{share} in {median(steps):.0f} steps" if steps else share


def duration(seconds: float) -> str:
    """Text of a duration in s: seconds below two minutes, else minutes."""
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
