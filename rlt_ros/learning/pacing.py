"""Update debt: the number of learner updates, which grows with the data.

Results depend on the number of updates per row. A free-running learner would visit each row of a small replay hundreds
of times and each row of a large one hardly once. Pure arithmetic: no clock, no threads.
"""

from __future__ import annotations

import dataclasses
import math

from rlt_ros.rlt.config import RLTConfig
from rlt_ros.store.parameters import ConfigError


@dataclasses.dataclass
class UpdateDebt:
    """Critic updates owed to the data.

    Until the gate opens, rows add nothing: the value warm-up (``opening``) covers them. From then on each row adds
    ``utd`` updates.

    Attributes:
        utd: critic updates per new row.
        opening: critic updates owed when the gate opens.
        max_per_cycle: upper bound of :meth:`due`.
        multiple: critic steps per actor step; :meth:`due` is a multiple of it.
        min_episodes: finished episodes before the gate opens.
        min_rows: rows before the gate opens.
        min_successes: successful episodes before the gate opens.
        min_failures: other episodes before the gate opens.
        rows, successes, failures, paid, owed: the running account.
    """

    utd: float
    opening: int = 0
    max_per_cycle: int = 1000
    multiple: int = 1
    min_episodes: int = 0
    min_rows: int = 0
    min_successes: int = 0
    min_failures: int = 0
    rows: int = 0
    successes: int = 0
    failures: int = 0
    paid: int = 0
    owed: float = 0.0
    is_open: bool = False

    def __post_init__(self) -> None:
        if not math.isfinite(self.utd) or self.utd < 0:
            raise ConfigError(f"`utd` is {self.utd}; it must be a finite number, at least 0")
        if self.multiple < 1 or self.max_per_cycle < self.multiple:
            raise ConfigError(
                f"`max_updates_per_cycle` is {self.max_per_cycle}; it must be at least "
                f"`critic_updates`, {self.multiple}"
            )

    @staticmethod
    def from_config(config: RLTConfig) -> UpdateDebt:
        """Debt with the rates and gates of a configuration."""
        return UpdateDebt(
            utd=config.utd,
            opening=config.warmup_updates,
            max_per_cycle=config.max_updates_per_cycle,
            multiple=config.critic_updates,
            min_episodes=config.warmup_episodes,
            min_rows=config.min_rows,
            min_successes=config.min_successes,
            min_failures=config.min_failures,
        )

    def add_rows(self, count: int) -> None:
        """Note ``count`` new replay rows."""
        self.rows += count
        if self.is_open:
            self.owed += count * self.utd
        self._open_if_ready()

    def add_episode(self, *, success: bool) -> None:
        """Note a finished episode."""
        self.successes += success
        self.failures += not success
        self._open_if_ready()

    def due(self) -> int:
        """Critic updates to make now; 0 while the gate is closed or less than one actor step is owed."""
        if not self.is_open:
            return 0
        return min(int(self.owed), self.max_per_cycle) // self.multiple * self.multiple

    def pay(self, count: int) -> None:
        """Note ``count`` critic updates made."""
        if count > self.owed:
            raise ValueError(f"{count} updates were paid where {self.owed:.0f} were owed; ask due() first")
        self.owed -= count
        self.paid += count

    @property
    def waiting_for(self) -> str:
        """Text of the missing data, for instance ``3 more rows``; empty once the gate is open."""
        if self.is_open:
            return ""
        missing = {
            "episodes": self.min_episodes - self.successes - self.failures,
            "rows": self.min_rows - self.rows,
            "successes": self.min_successes - self.successes,
            "failures": self.min_failures - self.failures,
        }
        return ", ".join(f"{count} more {name}" for name, count in missing.items() if count > 0)

    def _open_if_ready(self) -> None:
        if not self.is_open and not self.waiting_for:
            self.is_open = True
            self.owed += self.opening

    def state(self) -> dict[str, str]:
        """Running account as text, for a checkpoint's metadata."""
        return {f"debt.{name}": repr(getattr(self, name)) for name in _ACCOUNT}

    def load_state(self, metadata: dict[str, str]) -> None:
        """Restore the result of :meth:`state`."""
        for name, kind in _ACCOUNT.items():
            text = metadata[f"debt.{name}"]
            setattr(self, name, text == "True" if kind is bool else kind(text))


_ACCOUNT = {"rows": int, "successes": int, "failures": int, "paid": int, "owed": float, "is_open": bool}
