"""Base class of the back ends for external VLAs."""

from __future__ import annotations

from torch import Tensor

from rlt_ros.store.parameters import ConfigError
from rlt_ros.vla.adapter import AdapterConfig
from rlt_ros.vla.protocol import VLASpec
from rlt_ros.vla.vector_adapter import VectorAdapter


class ExternalVLA:
    """Base of the back ends: adapter, vector adapter, and the properties of `rlt_ros.vla.VLA`.

    A back end calls `_adapt`, sets `_spec` and `_fingerprint`, and implements `act` and `embed`.

    Args:
        adapter: mapping of the model's cameras and vectors to the robot.
    """

    _vectors: VectorAdapter
    _spec: VLASpec
    _fingerprint: str

    def __init__(self, adapter: AdapterConfig) -> None:
        self._adapter = adapter

    @property
    def spec(self) -> VLASpec:
        """Shapes of inputs and outputs."""
        return self._spec

    @property
    def fingerprint(self) -> str:
        """Identity of the adapter and, as far as known, of weights and statistics."""
        return self._fingerprint

    @property
    def action_scale(self) -> Tensor:
        """(A,) rad per policy unit."""
        return self._vectors.scale

    def _adapt(self, *, steps: int, state_size: int, action_size: int, normalised: bool) -> None:
        """Create the vector adapter of a model that plans ``steps`` steps; see `VectorAdapter`.

        Raises:
            ConfigError: the adapter uses steps or elements that the model does not have.
        """
        if self._adapter.horizon > steps:
            raise ConfigError(
                f"the adapter's `horizon` is {self._adapter.horizon}, and the model plans {steps} steps"
            )
        self._steps = steps
        self._vectors = VectorAdapter(
            self._adapter, state_size=state_size, action_size=action_size, normalised=normalised
        )

    def _shapes(self, *, embed_dim: int, tokens: int) -> VLASpec:
        """Specification from the adapter and the embeddings' shape (tokens, embed_dim)."""
        adapter = self._adapter
        return VLASpec(
            cameras=tuple(adapter.cameras),
            image_size=(adapter.image_size[0], adapter.image_size[1]),
            proprio_dim=2 * adapter.joints,
            action_dim=adapter.joints,
            horizon=adapter.horizon or self._steps,
            embed_dim=embed_dim,
            tokens=tokens,
        )
