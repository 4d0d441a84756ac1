"""Observation: all cameras and the joint state at one stamp."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Observation:
    """Cameras and joint state of the arm at one stamp.

    Attributes:
        stamp: time of the measurement on the robot's clock, ns.
        images: camera name → (h, w, 3) uint8 RGB.
        position: (A,) joint positions, rad.
        velocity: (A,) joint velocities, rad/s.
    """

    stamp: int
    images: Mapping[str, NDArray[np.uint8]]
    position: NDArray[np.float64]
    velocity: NDArray[np.float64]

    def __post_init__(self) -> None:
        """Check shapes and values; raise ValueError naming the field."""
        if self.position.shape != self.velocity.shape or self.position.ndim != 1:
            raise ValueError(
                f"observation: position {self.position.shape} and velocity {self.velocity.shape} must both be (A,)"
            )
        for name in ("position", "velocity"):
            if not np.isfinite(getattr(self, name)).all():
                raise ValueError(
                    f"observation at {self.stamp} ns: {name} is not finite; check the joint state source"
                )

    @property
    def proprio(self) -> NDArray[np.float64]:
        """Proprioception (2A,): positions, rad, then velocities, rad/s."""
        return np.concatenate([self.position, self.velocity])
