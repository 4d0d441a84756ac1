"""Who acts in the critical phase: the frozen VLA, or the learned actor."""

from __future__ import annotations

import torch

from rlt_ros.experiments.rollout import Choice, Driver
from rlt_ros.rlt.networks import Actor
from rlt_ros.rlt.transition import RLState, Source
from rlt_ros.vla.acting import ask


def base_policy(state: RLState) -> Choice:
    """The VLA's own chunk."""
    return Choice(state.reference, Source.VLA)


def learned_policy(actor: Actor, *, sigma: float = 0.0, generator: torch.Generator | None = None) -> Driver:
    """The actor's chunk: its mean, or with `sigma` > 0 (policy units) explored around it."""

    def drive(state: RLState) -> Choice:
        return Choice(ask(actor, state, sigma=sigma, generator=generator), Source.ACTOR)

    return drive
