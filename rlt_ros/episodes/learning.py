"""Learning progress: backlog of replay and learner, and the reasons to delay the next episode.

A simulator collects rows faster than a learner pays its updates, so without a delay the same robot minutes would teach
less. Training also waits while the learner makes its first actor, and an evaluation waits for the whole backlog.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from rlt_ros.episodes.plan import Kind
from rlt_ros.store.parameters import check, parameter


@dataclass(frozen=True)
class WaitConfig:
    """Conditions for the next episode."""

    max_debt: int = parameter(
        600,
        help="Update debt from which the next training episode waits for the learner; 0 never waits.",
        unit="updates",
        low=0,
        source="ours; the updates of a 200-step episode, so the learner is one episode behind at most and never idle",
    )
    replay_patience: float = parameter(
        30.0,
        help="Time-out for storing the newest episode in the replay, before an evaluation or the end of the plan; a "
        "damaged episode is never stored.",
        unit="s",
        low=0.0,
    )

    def __post_init__(self) -> None:
        check(self)


class _Learner(NamedTuple):
    owed: float
    busy: bool
    rows: int
    version: int


class LearningProgress:
    """Latest status of replay and learner. Without a learner no episode waits.

    Args:
        config: conditions for the next episode.
    """

    def __init__(self, config: WaitConfig) -> None:
        self._config = config
        self._learner: _Learner | None = None
        self._replay: tuple[int, int] | None = None
        # Episode that is not stored, and steady time of its first check.
        self._missed: tuple[int, float] | None = None

    def learner_status(self, *, owed: float, busy: bool, rows: int, version: int) -> None:
        """Set the learner's update debt, activity, number of counted rows and actor version (0: none)."""
        self._learner = _Learner(owed, busy, rows, version)

    def replay_status(self, *, rows: int, newest: int) -> None:
        """Set the number of rows in the replay and the id of its newest episode."""
        self._replay = (rows, newest)

    def block_reason(self, kind: Kind, *, newest: int, now: float) -> str:
        """Reason to delay an episode of ``kind``; empty for none.

        Args:
            kind: purpose of the episode.
            newest: id of the newest episode with rows.
            now: steady time, s.
        """
        if kind is Kind.EVAL_RLT:
            return self.backlog(newest=newest, now=now)
        if kind.evaluates or self._learner is None or not self._config.max_debt:
            return ""
        learner = self._learner
        if learner.busy and not learner.version:
            return f"the first actor: {learner.owed:.0f} updates are owed"
        return f"the learner owes {learner.owed:.0f} updates" if learner.owed >= self._config.max_debt else ""

    def backlog(self, *, newest: int, now: float) -> str:
        """Description of rows and updates that learning has not processed; empty for none, or without a learner."""
        if self._replay is None or self._learner is None:
            return ""
        if missing := self.missing_episode(newest=newest, now=now):
            return missing
        (rows, _), learner = self._replay, self._learner
        if learner.rows < rows:
            return f"the learner has counted {learner.rows} of {rows} rows"
        return f"the learner owes {learner.owed:.0f} updates" if learner.busy else ""

    def missing_episode(self, *, newest: int, now: float) -> str:
        """Description of an episode that the replay lacks; empty for none, and after `replay_patience`.

        Args:
            newest: id of the newest episode with rows.
            now: steady time, s.
        """
        _, stored = self._replay or (0, 0)
        return (
            f"episode {newest} is not in the replay"
            if stored < newest and not self._is_overdue(newest, now)
            else ""
        )

    def _is_overdue(self, newest: int, now: float) -> bool:
        if self._missed is None or self._missed[0] != newest:
            self._missed = newest, now
        return now - self._missed[1] > self._config.replay_patience
