"""Detection of a constant RL token, from which a policy silently learns nothing."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

MIN_MOTION_RAD = 2e-3
"""Least motion of a joint between two compared observations."""
MIN_TOKENS = 8
"""Tokens at different positions that are compared."""
MIN_SPREAD = 1e-4
"""Least standard deviation of a token element, relative to the unit variance of its training data."""


class TokenMonitor:
    """Compare the tokens of observations with different joint positions.

    Attributes:
        fault: reason for not using the token; None without one.
    """

    def __init__(self) -> None:
        self._tokens: list[NDArray[np.float32]] = []
        self._position: NDArray[np.float64] | None = None
        self.fault: str | None = None

    def add(self, z: NDArray[np.float32], position: NDArray[np.float64]) -> None:
        """Add the token (Z,) of an observation at joint positions ``position`` (A,) rad."""
        if self._position is not None and np.abs(position - self._position).max() < MIN_MOTION_RAD:
            return
        self._position = position
        self._tokens = [*self._tokens[1 - MIN_TOKENS :], z]
        if len(self._tokens) < MIN_TOKENS:
            return
        spread = float(np.std(self._tokens, axis=0).max())
        self.fault = None
        if spread < MIN_SPREAD:
            self.fault = (
                f"{MIN_TOKENS} observations of different arm positions have the same token (spread {spread:.1e}); "
                "check the cameras and that token and VLA belong together"
            )
