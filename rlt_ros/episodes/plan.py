"""What a run shall do, in words (``train:9min``), and which episode comes next, given what has been done."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from rlt_ros.rlt.parameters import ConfigError

EVALUATION_SEED = 900_000_000
"""First seed of evaluation episodes, the same for every policy that is compared; those of training are below."""

SEEDS_PER_RUN = 1_000_000
"""Training episode n of run s has the seed s times this plus n."""

FAILED_APPROACHES = 10
"""In a row: after so many the VLA is no start to learn from, and a run gives up."""

HELPED_FACTOR = 2
"""On the step limit of the critical phase, once a human has taken over, who shall have time to finish."""

_STAGE = re.compile(r"^(?P<kind>\w+):(?P<amount>\d+(\.\d+)?(e[+-]?\d+)?)(?P<minutes>min)?$")


class Kind(Enum):
    """What episodes are for."""

    EVAL_BASE = "eval_base"
    TRAIN = "train"
    WARMUP = "warmup"
    EVAL_RLT = "eval_rlt"

    @property
    def evaluates(self) -> bool:
        """Mean action, nothing is stored, and always the same conditions."""
        return self in (Kind.EVAL_BASE, Kind.EVAL_RLT)


@dataclass(frozen=True)
class Stage:
    """Episodes of one kind.

    Attributes:
        kind: what they are for.
        episodes: how many; None where minutes say it, or without end.
        minutes: of robot time in the critical phase; None where episodes say it, or without end.
    """

    kind: Kind
    episodes: int | None = None
    minutes: float | None = None

    def __str__(self) -> str:
        if self.minutes is not None:
            return f"{self.kind.value}:{self.minutes:g}min"
        return f"{self.kind.value}:{self.episodes or 0}"


def parse_plan(texts: Sequence[str]) -> tuple[Stage, ...]:
    """Stages from texts like ``eval_base:10``, ``train:9min`` and, without end, ``eval_rlt:0``.

    Raises:
        ConfigError: a text is no stage, a kind stands there twice, or something follows what has no end.
    """
    stages = [_stage(text) for text in texts]
    if not stages:
        raise ConfigError("`plan` is empty; say for instance train:9min")
    kinds = [stage.kind for stage in stages]
    for kind in kinds:
        if kinds.count(kind) > 1:
            raise ConfigError(f"`plan` has {kind.value} twice; put it together")
    for stage in stages[:-1]:
        if stage.episodes is None and stage.minutes is None:
            raise ConfigError(f"`plan` has {stage}, which has no end, before its last place")
    return tuple(stages)


def _stage(text: str) -> Stage:
    match = _STAGE.match(text.strip())
    kinds = {kind.value: kind for kind in Kind}
    if match is None or match["kind"] not in kinds:
        raise ConfigError(
            f"`plan` has `{text}`; a stage is KIND:EPISODES or KIND:MINUTESmin, 0 for without end, where KIND is "
            f"{', '.join(kinds)}"
        )
    kind, amount = kinds[match["kind"]], float(match["amount"])
    if match["minutes"]:
        if kind.evaluates:
            raise ConfigError(
                f"`plan` has `{text}`; an evaluation is told its episodes, like {kind.value}:10"
            )
        return Stage(kind, minutes=amount) if amount else Stage(kind)
    if amount != int(amount):
        raise ConfigError(f"`plan` has `{text}`; there are whole episodes only")
    return Stage(kind, episodes=int(amount)) if amount else Stage(kind)
