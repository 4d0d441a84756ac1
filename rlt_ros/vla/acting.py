"""The actor in use: whether it may act, and the chunk that it chooses."""

from __future__ import annotations

import threading

import numpy as np
import torch

from rlt_ros.rlt.checkpoint import PolicyUpdate
from rlt_ros.rlt.networks import Actor
from rlt_ros.rlt.transition import FloatArray, RLState


def ask(actor: Actor, state: RLState, *, sigma: float, generator: torch.Generator | None) -> FloatArray:
    """The actor's chunk (C, A) in policy units: its mean, or with ``sigma`` > 0 explored around it."""
    inputs = (torch.from_numpy(value)[None] for value in (state.z, state.proprio, state.reference))
    chunk: FloatArray = actor.act(*inputs, sigma=sigma, generator=generator).numpy()[0]
    return chunk


class Acting:
    """Holds the newest actor. One chunk is always of one actor, for it is asked once a chunk.

    A new actor may come from another thread than the one that asks.

    Args:
        sigma: exploration noise, policy units.
        stale_after: training episodes without a newer actor after which it acts no more; 0 for never.
    """

    def __init__(self, sigma: float, stale_after: int) -> None:
        self._sigma, self._stale_after = sigma, stale_after
        self._lock = threading.Lock()
        self._without_update: int | None = None  # training episodes; None for an actor that does not age
        self.update: PolicyUpdate | None = None

    def use(self, update: PolicyUpdate, *, ages: bool = True) -> None:
        """Act with this actor from now on; one that ``ages`` becomes stale where no newer one follows."""
        with self._lock:
            self.update, self._without_update = update, 0 if ages else None

    def trained(self) -> None:
        """Note that a training episode has ended."""
        with self._lock:
            if self._without_update is not None:
                self._without_update += 1

    @property
    def obstacle(self) -> str:
        """Why it does not act, in words; empty when it does."""
        if self.update is None:
            return "no actor has come"
        if self._stale_after and (self._without_update or 0) >= self._stale_after:
            return f"the actor is stale: {self._without_update} episodes without a policy update"
        return ""

    def choose(
        self, state: RLState, *, explore: torch.Generator | None
    ) -> tuple[FloatArray, PolicyUpdate] | None:
        """The chunk (C, A) in policy units, the mean or explored around it, and whose it is; None if not finite."""
        update = self.update  # once: a newer one may come in between
        assert update is not None
        sigma = 0.0 if explore is None else self._sigma
        action = ask(update.actor, state, sigma=sigma, generator=explore)
        return (action, update) if np.isfinite(action).all() else None
