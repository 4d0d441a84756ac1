"""Who acts in the critical phase: the frozen VLA, or the learned actor."""

from __future__ import annotations

import torch

from rlt_ros.experiments.rollout import Choice, Driver
from rlt_ros.rlt.networks import Actor
from rlt_ros.rlt.transition import RLState, Source


def base_policy(state: RLState) -> Choice:
    """The VLA's own chunk."""
    return Choice(state.reference, Source.VLA)


def learned_policy(actor: Actor, *, sigma: float = 0.0, generator: torch.Generator | None = None) -> Driver:
    """The actor's chunk: its mean, or with `sigma` > 0 (policy units) explored around it."""

    def drive(state: RLState) -> Choice:
        z, proprio, reference = (torch.from_numpy(v)[None] for v in (state.z, state.proprio, state.reference))
        chunk = actor.act(z, proprio, reference, sigma=sigma, generator=generator)
        return Choice(chunk[0].numpy(), Source.ACTOR)

    return drive
