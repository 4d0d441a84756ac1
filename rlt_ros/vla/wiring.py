"""From joint positions to a foreign model's state vector, and from its actions to policy units."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from rlt_ros.rlt.parameters import ConfigError
from rlt_ros.vla.card import VectorCard, VLACard

_EPSILON = 1e-8
"""Added to a standard deviation, as openpi, lerobot and transformers do."""


class Wiring:
    """What a card says, as arithmetic.

    Args:
        card: how the model belongs to the robot.
        state_size: elements of the vector that the network takes; what the card does not fill is 0.
        action_size: elements of the actions that the network gives.
        normalised: whether states are normalised and actions come normalised, with the card's statistics. A server,
        or a
            library that has statistics of its own, does it itself.

    Raises:
        ConfigError: the card names elements that the network does not have.
    """

    def __init__(self, card: VLACard, *, state_size: int, action_size: int, normalised: bool) -> None:
        self._card, self._state_size = card, state_size
        for name, vector, size in (("state", card.state, state_size), ("actions", card.actions, action_size)):
            if card.size(vector) > size:
                raise ConfigError(
                    f"the card's `{name}` uses {card.size(vector)} elements, and the model has {size}; check `elements`"
                )
        self._state_at = torch.tensor(card.elements(card.state))
        self._action_at = torch.tensor(card.elements(card.actions))
        self._fill = torch.zeros(card.size(card.state))
        for element, value in (card.state.fill or {}).items():
            self._fill[int(element)] = value
        self._state_unit, self._state_offset = self._joints(card.state.unit), self._joints(card.state.offset)
        self._action_unit = self._joints(card.actions.unit)
        # A relative action has no zero of its own: an offset would be a drift.
        self._action_offset = 0.0 if card.relative else self._joints(card.actions.offset)
        self._state_statistics = _statistics(card.state) if normalised else None
        self._action_statistics = _statistics(card.actions) if normalised else None
        self.scale = torch.tensor(card.action_scale)

    def state(self, proprio: Tensor) -> Tensor:
        """(B, S) float32 for the network, of proprioception (B, 2A): positions, then velocities, rad and rad/s."""
        position = proprio[:, : self._card.joints].float()
        state = self._fill.repeat(len(position), 1)
        state[:, self._state_at] = (position - self._state_offset) / self._state_unit
        if self._state_statistics is not None:
            middle, width = (values[: state.shape[1]] for values in self._state_statistics)
            state = (state - middle) / width
        whole = torch.zeros(len(position), self._state_size)
        whole[:, : state.shape[1]] = state
        return whole

    def chunk(self, actions: Tensor, proprio: Tensor) -> Tensor:
        """(B, H, A) policy units of the network's actions (B, H, N), at the positions that it was shown."""
        chosen = actions.float()[..., self._action_at]
        if self._action_statistics is not None:
            middle, width = (values[self._action_at] for values in self._action_statistics)
            chosen = chosen * width + middle
        targets = chosen * self._action_unit + self._action_offset
        if not self._card.relative:
            targets = targets - proprio[:, None, : self._card.joints].float()
        if self._card.horizon:
            targets = targets[:, : self._card.horizon]
        return targets / self.scale

    def _joints(self, values: Sequence[float]) -> Tensor:
        return torch.tensor(values).expand(self._card.joints)


def _statistics(vector: VectorCard) -> tuple[Tensor, Tensor] | None:
    """Middle and width of what the network sees as 0 and ±1; None where it was trained on plain values."""
    if vector.mean:
        return torch.tensor(vector.mean), torch.tensor(vector.std) + _EPSILON
    if vector.q01:
        low, high = torch.tensor(vector.q01), torch.tensor(vector.q99)
        return (low + high) / 2, (high - low) / 2
    return None
