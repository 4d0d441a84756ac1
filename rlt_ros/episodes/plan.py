"""Plan of a run: stages such as ``train:9min``."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from rlt_ros.store.parameters import ConfigError

EVALUATION_SEED = 900_000_000
"""First seed of evaluation episodes, common to all compared policies; training seeds are smaller."""

SEEDS_PER_RUN = 1_000_000
"""Training episode n of run s has the seed s times this plus n."""

FAILED_APPROACHES = 10
"""Consecutive failed approaches after which a run stops, because the VLA is no base for learning."""

HELPED_FACTOR = 2
"""Factor on the step limit of the critical phase after a human's take-over, as time to finish."""

_STAGE = re.compile(r"^(?P<kind>\w+):(?P<amount>\d+(\.\d+)?(e[+-]?\d+)?)(?P<minutes>min)?$")


class Kind(Enum):
    """Purpose of an episode."""

    EVAL_BASE = "eval_base"
    TRAIN = "train"
    WARMUP = "warmup"
    EVAL_RLT = "eval_rlt"

    @property
    def evaluates(self) -> bool:
        """True for an evaluation: mean action, no rows, and always the same conditions."""
        return self in (Kind.EVAL_BASE, Kind.EVAL_RLT)


@dataclass(frozen=True)
class Stage:
    """Episodes of one kind.

    Attributes:
        kind: purpose of the episodes.
        episodes: number of episodes; None if minutes are given, or without end.
        minutes: min of robot time in the critical phase; None if episodes are given, or without end.
    """

    kind: Kind
    episodes: int | None = None
    minutes: float | None = None

    def __str__(self) -> str:
        if self.minutes is not None:
            return f"{self.kind.value}:{self.minutes:g}min"
        return f"{self.kind.value}:{self.episodes or 0}"


def parse_plan(texts: Sequence[str]) -> tuple[Stage, ...]:
    """Parse stages such as ``eval_base:10``, ``train:9min`` and, without end, ``eval_rlt:0``.

    Raises:
        ConfigError: a text is no stage, a kind is repeated, or a stage follows one without end.
    """
    stages = [_stage(text) for text in texts]
    if not stages:
        raise ConfigError("`plan` is empty; give for instance train:9min")
    kinds = [stage.kind for stage in stages]
    for kind in kinds:
        if kinds.count(kind) > 1:
            raise ConfigError(f"`plan` has {kind.value} twice; merge the two")
    for stage in stages[:-1]:
        if stage.episodes is None and stage.minutes is None:
            raise ConfigError(
                f"`plan` has {stage}, a stage without end, before its last one; move it to the end"
            )
    return tuple(stages)


def _stage(text: str) -> Stage:
    match = _STAGE.match(text.strip())
    kinds = {kind.value: kind for kind in Kind}
    if match is None or match["kind"] not in kinds:
        raise ConfigError(
            f"`plan` has `{text}`; a stage is KIND:EPISODES or KIND:MINUTESmin, 0 for no end; KIND is one of "
            f"{', '.join(kinds)}"
        )
    kind, amount = kinds[match["kind"]], float(match["amount"])
    if match["minutes"]:
        if kind.evaluates:
            raise ConfigError(
                f"`plan` has `{text}`; give an evaluation a number of episodes, like {kind.value}:10"
            )
        return Stage(kind, minutes=amount) if amount else Stage(kind)
    if amount != int(amount):
        raise ConfigError(f"`plan` has `{text}`; give a whole number of episodes")
    return Stage(kind, episodes=int(amount)) if amount else Stage(kind)
