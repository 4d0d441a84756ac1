"""Is the RL token alive? One that says the same whatever the cameras show lets a policy learn nothing, silently."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_MOVED = 2e-3  # rad; an arm that moved so far is seen somewhere else
_ENOUGH = 8  # tokens of different positions before there is a verdict
_SMALLEST_SPREAD = 1e-4  # elements of a token have unit variance over the data that it was fitted to


class TokenWatch:
    """Compares tokens of observations in which the arm stands elsewhere."""

    def __init__(self) -> None:
        self._tokens: list[NDArray[np.float32]] = []
        self._position: NDArray[np.float64] | None = None
        self.verdict = ""
        """Why the token cannot be used, in words; empty while nothing speaks against it."""

    def add(self, z: NDArray[np.float32], position: NDArray[np.float64]) -> None:
        """Take the token (Z,) of an observation with the arm at ``position`` (A,) rad."""
        if self._position is not None and np.abs(position - self._position).max() < _MOVED:
            return
        self._position = position
        self._tokens = [*self._tokens[1 - _ENOUGH :], z]
        if len(self._tokens) < _ENOUGH:
            return
        spread = float(np.std(self._tokens, axis=0).max())
        self.verdict = (
            ""
            if spread >= _SMALLEST_SPREAD
            else (
                f"{_ENOUGH} observations of different arm positions have the same token (spread {spread:.1e}); "
                "check the cameras and that token and VLA belong together"
            )
        )
