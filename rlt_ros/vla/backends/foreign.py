"""What all foreign VLAs share: a card, the wiring that it makes, and the three members that say what the model is."""

from __future__ import annotations

from torch import Tensor

from rlt_ros.rlt.parameters import ConfigError
from rlt_ros.vla.card import VLACard
from rlt_ros.vla.protocol import VLASpec
from rlt_ros.vla.wiring import Wiring


class ForeignVLA:
    """Base of the back ends. They wire the card to their model, set `_spec` and `_fingerprint`, and add `act` and
    `embed`.

    Args:
        card: how the model belongs to the robot.
    """

    _wiring: Wiring
    _spec: VLASpec
    _fingerprint: str

    def __init__(self, card: VLACard) -> None:
        self._card = card

    @property
    def spec(self) -> VLASpec:
        """Shapes of its inputs and outputs."""
        return self._spec

    @property
    def fingerprint(self) -> str:
        """Identity of the card and, as far as the back end can tell, of weights and statistics."""
        return self._fingerprint

    @property
    def action_scale(self) -> Tensor:
        """(A,) rad per policy unit."""
        return self._wiring.scale

    def _wire(self, *, steps: int, state_size: int, action_size: int, normalised: bool) -> None:
        """Wire the card to a model that plans ``steps`` steps; the rest is as `Wiring` takes it.

        Raises:
            ConfigError: the card asks for steps or elements that the model does not have.
        """
        if self._card.horizon > steps:
            raise ConfigError(
                f"the card's `horizon` is {self._card.horizon}, and the model plans {steps} steps"
            )
        self._steps = steps
        self._wiring = Wiring(
            self._card, state_size=state_size, action_size=action_size, normalised=normalised
        )

    def _shapes(self, *, embed_dim: int, tokens: int) -> VLASpec:
        """The card's shapes, and those of the embeddings (tokens, embed_dim)."""
        card = self._card
        return VLASpec(
            cameras=tuple(card.cameras),
            image_size=(card.image_size[0], card.image_size[1]),
            proprio_dim=2 * card.joints,
            action_dim=card.joints,
            horizon=card.horizon or self._steps,
            embed_dim=embed_dim,
            tokens=tokens,
        )
