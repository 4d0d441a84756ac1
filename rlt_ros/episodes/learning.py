"""How far replay and learner are behind the robot, and whether the next episode should wait for them.

A simulator is faster than a learner that owes updates to every row, so it would outrun it, and the same robot minutes
would teach less. Nobody collects more of what the VLA does once the learner is about to make its first actor, and an
evaluation waits until everything is learned.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from rlt_ros.episodes.plan import Kind
from rlt_ros.rlt.parameters import check, parameter


@dataclass(frozen=True)
class WaitConfig:
    """What the next episode waits for."""

    max_debt: int = parameter(
        600,
        help="Updates owed by the learner at which the next training episode waits; 0 never waits.",
        unit="updates",
        low=0,
        source="what an episode of 200 steps adds: the learner is one behind at most, and never idle",
    )
    replay_patience: float = parameter(
        30.0,
        help="How long an evaluation, and the end of the plan, wait for the replay to store the newest episode; a "
        "broken one never comes.",
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
    """What replay and learner have said last. Without a learner nobody waits.

    Args:
        config: what is waited for.
    """

    def __init__(self, config: WaitConfig) -> None:
        self._config = config
        self._learner: _Learner | None = None
        self._replay: tuple[int, int] | None = None
        self._missed: tuple[int, float] | None = None  # episode that is not stored, and since when

    def learner(self, *, owed: float, busy: bool, rows: int, version: int) -> None:
        """What the learner owes, whether it is at it, how many rows it has seen, and its newest actor (0: none)."""
        self._learner = _Learner(owed, busy, rows, version)

    def replay(self, *, rows: int, newest: int) -> None:
        """The replay holds rows, the newest of episode ``newest``."""
        self._replay = (rows, newest)

    def obstacle(self, kind: Kind, *, newest: int, now: float) -> str:
        """Why an episode of ``kind`` should not begin yet, in words; empty if it may.

        Args:
            kind: what it is for.
            newest: id of the newest episode that has rows.
            now: steady time, s.
        """
        if kind is Kind.EVAL_RLT:
            return self.unlearned(newest=newest, now=now)
        if kind.evaluates or self._learner is None or not self._config.max_debt:
            return ""
        learner = self._learner
        if learner.busy and not learner.version:
            return f"the first actor: {learner.owed:.0f} updates are owed"
        return f"the learner owes {learner.owed:.0f} updates" if learner.owed >= self._config.max_debt else ""

    def unlearned(self, *, newest: int, now: float) -> str:
        """What was not learned from yet, in words; empty if nothing, or if nobody learns."""
        if self._replay is None or self._learner is None:
            return ""
        if unstored := self.unstored(newest=newest, now=now):
            return unstored
        (rows, _), learner = self._replay, self._learner
        if learner.rows < rows:
            return f"the learner has seen {learner.rows} of {rows} rows"
        return f"the learner owes {learner.owed:.0f} updates" if learner.busy else ""

    def unstored(self, *, newest: int, now: float) -> str:
        """Name the episode that the replay does not have yet; empty if it has all, and after `replay_patience`.

        Args:
            newest: id of the newest episode that has rows.
            now: steady time, s.
        """
        _, stored = self._replay or (0, 0)
        return (
            f"episode {newest} is not in the replay"
            if stored < newest and not self._is_given_up(newest, now)
            else ""
        )

    def _is_given_up(self, newest: int, now: float) -> bool:
        if self._missed is None or self._missed[0] != newest:
            self._missed = newest, now
        return now - self._missed[1] > self._config.replay_patience
