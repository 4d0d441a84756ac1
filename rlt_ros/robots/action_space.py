"""Invertible map between policy actions and joint targets.

A policy action is the difference between a joint target and the joint positions at the observation's stamp (the
anchor), divided by a scale per joint: *normalised deltas*. All steps of a chunk share one anchor.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rlt_ros.robots.turns import Mask, nearest_turn
from rlt_ros.store.lineage import fingerprint

Array = NDArray[Any]


@dataclass(frozen=True)
class ActionSpace:
    """Invertible map between absolute joint targets and policy actions.

    Attributes:
        scale: (A,) rad (or m) of one policy unit for each joint, positive.
        continuous: (A,) joints that turn without end, which move by less than half a turn from the anchor; None for
            none. Not part of the identity.
    """

    scale: Array
    continuous: Mask | None = None

    def __post_init__(self) -> None:
        """Check the scale; raise ValueError naming it."""
        if self.scale.ndim != 1 or not np.isfinite(self.scale).all() or not (self.scale > 0).all():
            raise ValueError(f"action scale must be (A,) finite and positive, got {self.scale}")

    @property
    def dim(self) -> int:
        """Number of joints A."""
        return len(self.scale)

    @property
    def fingerprint(self) -> str:
        """Identity of the scale: ``stats`` in a lineage."""
        return fingerprint(self.scale.astype(np.float64).tobytes())

    def encode(self, anchor: Array, targets: Array) -> Array:
        """Policy actions (..., C, A) of the joint targets (..., C, A) rad, from the anchor (..., A) rad."""
        self._check(anchor, targets, "targets")
        start = anchor[..., None, :]
        return (nearest_turn(targets, start, self.continuous) - start) / self.scale

    def decode(self, anchor: Array, actions: Array) -> Array:
        """Joint targets (..., C, A) rad of the policy actions (..., C, A), from the anchor (..., A) rad."""
        self._check(anchor, actions, "actions")
        start = anchor[..., None, :]
        return nearest_turn(actions * self.scale + start, start, self.continuous)

    def _check(self, anchor: Array, chunk: Array, name: str) -> None:
        if anchor.shape[-1] != self.dim or chunk.shape[-1] != self.dim or chunk.ndim != anchor.ndim + 1:
            raise ValueError(
                f"{name} {chunk.shape} and anchor {anchor.shape} do not fit: expected (..., C, {self.dim}) and "
                f"(..., {self.dim}); check the robot profile's joints against the policy's"
            )
