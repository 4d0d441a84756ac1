"""Mini-batch of chunk transitions: the interface between replay and learner."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from rlt_ros.rlt.config import Shapes


class BatchError(ValueError):
    """Unusable batch. The message names the field, its value and the expected one."""


@dataclasses.dataclass(frozen=True)
class Batch:
    """B windows of up to C control steps; steps from ``valid`` on are padding and hold zeros.

    Attributes:
        z: (B, Z) RL token at the window's first step; half precision is welcome.
        proprio: (B, P) joint positions, then velocities.
        reference: (B, C, A) the VLA's chunk, policy units.
        action: (B, C, A) executed actions, policy units.
        reward: (B,) sum of gamma^k r_k over the valid steps.
        discount: (B,) gamma^valid, or 0 where the window ends in a terminal state.
        next_z: (B, Z) RL token ``valid`` steps later.
        next_proprio: (B, P).
        next_reference: (B, C, A) the VLA's chunk there.
        valid: (B,) int, number of executed steps in the window, 1..C.
        next_valid: (B,) int, number of steps that the next window has, 0..C.
        terminated: (B,) bool, the task ended (success or failure).
        truncated: (B,) bool, the episode was cut for another reason; its value is bootstrapped.
        human: (B, C) bool, steps that a human commanded.
    """

    z: Tensor
    proprio: Tensor
    reference: Tensor
    action: Tensor
    reward: Tensor
    discount: Tensor
    next_z: Tensor
    next_proprio: Tensor
    next_reference: Tensor
    valid: Tensor
    next_valid: Tensor
    terminated: Tensor
    truncated: Tensor
    human: Tensor

    def __len__(self) -> int:
        return self.z.shape[0]

    def rows(self, start: int, stop: int) -> Batch:
        """Rows ``start`` to ``stop - 1``, as views."""
        return Batch(*(getattr(self, name)[start:stop] for name in FIELDS))

    def to(self, device: torch.device | str) -> Batch:
        """Copy of the batch on a device; asynchronous from pinned memory."""
        return Batch(*(getattr(self, name).to(device, non_blocking=True) for name in FIELDS))

    def check_shapes(self, shapes: Shapes) -> None:
        """Raise :class:`BatchError` unless every field has its shape. Does not wait for a GPU."""
        rows = len(self)
        for name, shape in _row_shapes(shapes).items():
            found = tuple(getattr(self, name).shape)
            if found != (rows, *shape):
                raise BatchError(
                    f"batch field `{name}` has shape {found}, expected {(rows, *shape)}; "
                    "is the replay of another robot or chunk length?"
                )

    def check_values(self) -> None:
        """Raise :class:`BatchError` on a value that is not finite or out of range. Waits for a GPU."""
        for name in FIELDS:
            field: Tensor = getattr(self, name)
            if field.is_floating_point() and not bool(torch.isfinite(field).all()):
                bad = (~torch.isfinite(field)).reshape(len(self), -1).any(1).nonzero()[0, 0]
                raise BatchError(
                    f"batch field `{name}` holds NaN or infinity, first in row {int(bad)}; drop that row"
                )
        chunk = self.action.shape[1]
        for name, lowest in (("valid", 1), ("next_valid", 0)):
            horizon: Tensor = getattr(self, name)
            if bool(((horizon < lowest) | (horizon > chunk)).any()):
                found = f"{int(horizon.min())} to {int(horizon.max())}"
                raise BatchError(f"batch field `{name}` runs from {found}, expected {lowest} to {chunk}")


FIELDS: tuple[str, ...] = tuple(field.name for field in dataclasses.fields(Batch))


def valid_mask(valid: Tensor, chunk: int) -> Tensor:
    """Mask (B, C, 1) from valid horizons (B,), true on the steps before the horizon."""
    return (torch.arange(chunk, device=valid.device) < valid.unsqueeze(1)).unsqueeze(2)


def _row_shapes(shapes: Shapes) -> dict[str, tuple[int, ...]]:
    """Shape of each field behind the batch dimension."""
    chunk = (shapes.chunk, shapes.action_dim)
    state = {"z": (shapes.z_dim,), "proprio": (shapes.proprio_dim,), "reference": chunk}
    return {
        **{name: () for name in FIELDS},
        **state,
        **{f"next_{name}": shape for name, shape in state.items()},
        "action": chunk,
        "human": (shapes.chunk,),
    }
