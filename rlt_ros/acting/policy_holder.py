"""Policy in use: its version and staleness, and the chunks sampled from it."""

from __future__ import annotations

import threading

import numpy as np
import torch

from rlt_ros.learning.checkpoint import PolicyUpdate
from rlt_ros.rlt.networks import Actor
from rlt_ros.rlt.transition import FloatArray, RLState


def sample_chunk(
    actor: Actor, state: RLState, *, sigma: float, generator: torch.Generator | None
) -> FloatArray:
    """Chunk (C, A) in policy units: the actor's mean, or with ``sigma`` > 0 explored around it."""
    inputs = (torch.from_numpy(value)[None] for value in (state.z, state.proprio, state.reference))
    chunk: FloatArray = actor.act(*inputs, sigma=sigma, generator=generator).numpy()[0]
    return chunk


class PolicyHolder:
    """Newest policy. A chunk is sampled from exactly one policy, although another thread may replace it meanwhile.

    Args:
        sigma: exploration noise, policy units.
        stale_after: training episodes without an update after which the policy is blocked; 0 for never.
    """

    def __init__(self, sigma: float, stale_after: int) -> None:
        self._sigma, self._stale_after = sigma, stale_after
        self._lock = threading.Lock()
        # Training episodes since the update; None for a policy that does not age.
        self._episodes_since_update: int | None = None
        self._update: PolicyUpdate | None = None

    def accept(self, update: PolicyUpdate, *, ages: bool = True) -> None:
        """Replace the policy; with ``ages`` it becomes stale unless a newer one follows."""
        with self._lock:
            self._update, self._episodes_since_update = update, 0 if ages else None

    def count_episode(self) -> None:
        """Count a finished training episode towards staleness."""
        with self._lock:
            if self._episodes_since_update is not None:
                self._episodes_since_update += 1

    @property
    def version(self) -> int:
        """Version of the policy; 0 without one."""
        return self._update.version if self._update else 0

    @property
    def block_reason(self) -> str | None:
        """Reason for not using the policy; None when it is usable."""
        if self._update is None:
            return "no actor has come"
        if self._stale_after and (self._episodes_since_update or 0) >= self._stale_after:
            return f"the actor is stale: {self._episodes_since_update} episodes without a policy update"
        return None

    def sample(
        self, state: RLState, *, explore: torch.Generator | None
    ) -> tuple[FloatArray, PolicyUpdate] | None:
        """Chunk (C, A) in policy units, the mean or explored around it, and its policy; None if not finite."""
        # Read once: another thread may replace it.
        update = self._update
        assert update is not None
        sigma = 0.0 if explore is None else self._sigma
        action = sample_chunk(update.actor, state, sigma=sigma, generator=explore)
        return (action, update) if np.isfinite(action).all() else None
