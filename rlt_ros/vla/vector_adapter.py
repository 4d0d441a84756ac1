"""Conversion of joint positions to a model's state vector, and of its actions to policy units."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from rlt_ros.store.parameters import ConfigError
from rlt_ros.vla.adapter import AdapterConfig, VectorConfig

_EPSILON = 1e-8
"""Added to a standard deviation, as openpi, lerobot and transformers do."""


class VectorAdapter:
    """Arithmetic of an adapter.

    Args:
        adapter: mapping of the model's vectors to the robot.
        state_size: elements of the network's state; those without a joint or `fill` are 0.
        action_size: elements of the network's actions.
        normalised: normalise states and denormalise actions by the adapter's statistics. False for servers and
            libraries with their own statistics.

    Raises:
        ConfigError: the adapter uses elements that the network does not have.
    """

    def __init__(
        self, adapter: AdapterConfig, *, state_size: int, action_size: int, normalised: bool
    ) -> None:
        self._adapter, self._state_size = adapter, state_size
        for name, vector, size in (
            ("state", adapter.state, state_size),
            ("actions", adapter.actions, action_size),
        ):
            if adapter.size(vector) > size:
                raise ConfigError(
                    f"the adapter's `{name}` uses {adapter.size(vector)} elements, and the model has {size}; "
                    "check `elements`"
                )
        self._state_at = torch.tensor(adapter.elements(adapter.state))
        self._action_at = torch.tensor(adapter.elements(adapter.actions))
        self._fill = torch.zeros(adapter.size(adapter.state))
        for element, value in (adapter.state.fill or {}).items():
            self._fill[int(element)] = value
        self._state_unit, self._state_offset = (
            self._joints(adapter.state.unit),
            self._joints(adapter.state.offset),
        )
        self._action_unit = self._joints(adapter.actions.unit)
        # An offset of a relative action would be a drift.
        self._action_offset = 0.0 if adapter.relative else self._joints(adapter.actions.offset)
        self._state_statistics = _statistics(adapter.state) if normalised else None
        self._action_statistics = _statistics(adapter.actions) if normalised else None
        self.scale = torch.tensor(adapter.action_scale)

    def state(self, proprio: Tensor) -> Tensor:
        """(B, S) float32 state of the network from proprioception (B, 2A): positions, then velocities, rad, rad/s."""
        position = proprio[:, : self._adapter.joints].float()
        state = self._fill.repeat(len(position), 1)
        state[:, self._state_at] = (position - self._state_offset) / self._state_unit
        if self._state_statistics is not None:
            middle, width = (values[: state.shape[1]] for values in self._state_statistics)
            state = (state - middle) / width
        whole = torch.zeros(len(position), self._state_size)
        whole[:, : state.shape[1]] = state
        return whole

    def chunk(self, actions: Tensor, proprio: Tensor) -> Tensor:
        """(B, H, A) policy units from the network's actions (B, H, N), at the positions of the observation."""
        chosen = actions.float()[..., self._action_at]
        if self._action_statistics is not None:
            middle, width = (values[self._action_at] for values in self._action_statistics)
            chosen = chosen * width + middle
        targets = chosen * self._action_unit + self._action_offset
        if not self._adapter.relative:
            targets = targets - proprio[:, None, : self._adapter.joints].float()
        if self._adapter.horizon:
            targets = targets[:, : self._adapter.horizon]
        return targets / self.scale

    def _joints(self, values: Sequence[float]) -> Tensor:
        return torch.tensor(values).expand(self._adapter.joints)


def _statistics(vector: VectorConfig) -> tuple[Tensor, Tensor] | None:
    """Middle and width that the network maps to 0 and ±1; None for a network trained on plain values."""
    if vector.mean:
        return torch.tensor(vector.mean), torch.tensor(vector.std) + _EPSILON
    if vector.q01:
        low, high = torch.tensor(vector.q01), torch.tensor(vector.q99)
        return (low + high) / 2, (high - low) / 2
    return None
