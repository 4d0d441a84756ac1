"""Normalisation of the built-in VLA, from recorded observations; stored with the weights.

Actions in policy units are ``(joint target - observed position) / action_scale``. Inside the model a chunk is
normalised again, per step and dimension, so that early steps, which move little, weigh as much as late ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import Tensor

_SCALE_FLOOR_RAD = 1e-3
"""Least action scale: a joint that the task hardly moves must not turn encoder noise into large actions."""
_CHUNK_FLOOR = 0.02
"""Least deviation of a chunk element, policy units; reached by early steps of a slow joint."""


@dataclass(frozen=True)
class Statistics:
    """Means and scales, all float32."""

    action_scale: Tensor
    """(A,) rad per policy unit: standard deviation of the displacement at step C, floored."""
    chunk_mean: Tensor
    """(H, A) policy units."""
    chunk_std: Tensor
    """(H, A) policy units."""
    proprio_mean: Tensor
    """(P,)"""
    proprio_std: Tensor
    """(P,)"""

    @classmethod
    def of(cls, displacements: np.ndarray, proprio: np.ndarray, *, chunk: int) -> Statistics:
        """Statistics over n observations.

        Args:
            displacements: (n, H, A) rad, joint targets of the next H steps minus the observed position.
            proprio: (n, P) positions, then velocities.
            chunk: C, the step whose displacement sets the action scale.
        """
        horizon = displacements.shape[1]
        scale = np.maximum(displacements[:, min(chunk, horizon) - 1].std(axis=0), _SCALE_FLOOR_RAD)
        actions = displacements / scale
        return cls(
            action_scale=_tensor(scale),
            chunk_mean=_tensor(actions.mean(axis=0)),
            chunk_std=_tensor(np.maximum(actions.std(axis=0), _CHUNK_FLOOR)),
            proprio_mean=_tensor(proprio.mean(axis=0)),
            proprio_std=_tensor(np.maximum(proprio.std(axis=0), _SCALE_FLOOR_RAD)),
        )

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> Statistics:
        """Inverse of `tensors`."""
        return cls(**{field.name: tensors[field.name] for field in fields(cls)})

    def tensors(self) -> dict[str, Tensor]:
        """All fields by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def normalise_chunk(self, actions: Tensor) -> Tensor:
        """Policy units (..., H, A) → normalised units of the flow head."""
        return (actions - self.chunk_mean) / self.chunk_std

    def denormalise_chunk(self, normalised: Tensor) -> Tensor:
        """Inverse of `normalise_chunk`."""
        return normalised * self.chunk_std + self.chunk_mean

    def normalise_proprio(self, proprio: Tensor) -> Tensor:
        """Raw (..., P) → zero mean, unit variance."""
        return (proprio - self.proprio_mean) / self.proprio_std

    def compress_goal(self, displacement: Tensor) -> Tensor:
        """Displacement to a goal (..., A) rad → asinh of policy units.

        Linear for small displacements and logarithmic for large ones: a millimetre matters near the goal and not far
        from it.
        """
        return torch.asinh(displacement / self.action_scale)


def _tensor(array: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32))
