"""Protocol of vision-language-action models.

The VLA is frozen. From one pass over a batch of observations it returns the final-layer embeddings of its image tokens,
from which the RL token is computed, and the action chunk of its own policy, the actor's reference. Tokenizer,
normalisation, flow or diffusion head, device and precision stay behind `VLA.act`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from rlt_ros.rlt.ranges import LARGEST

if TYPE_CHECKING:
    import torch
    from torch import Tensor


class ObservationError(ValueError):
    """Observation that the VLA refuses: missing camera, wrong size or type, non-finite proprioception."""


@dataclass(frozen=True)
class VLASpec:
    """Shapes of inputs and outputs."""

    cameras: tuple[str, ...]
    """Required cameras, in the VLA's order."""
    image_size: tuple[int, int]
    """Height and width of every camera's image, pixels."""
    proprio_dim: int
    """P: joint positions (rad), then velocities (rad/s)."""
    action_dim: int
    """A."""
    horizon: int
    """H: control steps of a chunk."""
    embed_dim: int
    """D: width of a token embedding."""
    tokens: int
    """M: image tokens of all cameras together."""

    def __post_init__(self) -> None:
        """Refuse empty and non-positive shapes."""
        if not self.cameras or len(set(self.cameras)) != len(self.cameras):
            raise ValueError(f"cameras must be distinct and at least one, got {self.cameras}")
        numbers = {
            "image height": self.image_size[0],
            "image width": self.image_size[1],
            "proprio_dim": self.proprio_dim,
            "action_dim": self.action_dim,
            "horizon": self.horizon,
            "embed_dim": self.embed_dim,
            "tokens": self.tokens,
        }
        for name, value in numbers.items():
            if value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")


@dataclass(frozen=True)
class ObservationBatch:
    """B synchronised observations. Further cameras are ignored."""

    images: Mapping[str, Tensor]
    """Camera → (B, h, w, 3) uint8, RGB."""
    proprio: Tensor
    """(B, P) float, raw joint positions (rad) and velocities (rad/s)."""
    instructions: Sequence[str]
    """B instructions."""

    def __len__(self) -> int:
        """Number of observations B."""
        return len(self.instructions)


@dataclass(frozen=True)
class VLAOutput:
    """Outputs of one pass."""

    embeddings: Tensor
    """(B, M, D) float32 final-layer embeddings of the image tokens."""
    mask: Tensor
    """(B, M) bool, False where a token is padding."""
    chunk: Tensor
    """(B, H, A) float32 actions in policy units: normalised deltas from the observation's joint positions."""


@runtime_checkable
class VLA(Protocol):
    """Frozen vision-language-action model. These five members integrate another model."""

    @property
    def spec(self) -> VLASpec:
        """Shapes of inputs and outputs."""
        ...

    @property
    def fingerprint(self) -> str:
        """Identity of weights and statistics; data of different fingerprints is never mixed."""
        ...

    @property
    def action_scale(self) -> Tensor:
        """(A,) rad per policy unit."""
        ...

    def act(self, observations: ObservationBatch, *, generator: torch.Generator) -> VLAOutput:
        """Embeddings and chunk of every observation, from one pass.

        The same observations and generator state give the same output. Raises `ObservationError` for input that
        violates `spec`.
        """
        ...

    def embed(self, observations: ObservationBatch) -> tuple[Tensor, Tensor]:
        """Embeddings (B, M, D) and mask (B, M) as in `act`, without a chunk."""
        ...


def check_observations(observations: ObservationBatch, spec: VLASpec) -> None:
    """Raise `ObservationError` naming the first input that violates ``spec``."""
    # Imported here, so that addresses and adapters can be checked without torch.
    import torch

    batch = len(observations)
    if batch == 0:
        raise ObservationError("observation batch is empty")
    for camera in spec.cameras:
        if camera not in observations.images:
            have = ", ".join(sorted(observations.images)) or "none"
            raise ObservationError(
                f"camera {camera!r} is missing (got: {have}); the VLA needs {', '.join(spec.cameras)}"
            )
        image = observations.images[camera]
        expected = (batch, *spec.image_size, 3)
        if image.dtype != torch.uint8 or tuple(image.shape) != expected:
            raise ObservationError(
                f"image of camera {camera!r} must be uint8 {expected}, "
                f"got {image.dtype} {tuple(image.shape)}; resize it to the VLA's image_size"
            )
    proprio = observations.proprio
    if tuple(proprio.shape) != (batch, spec.proprio_dim):
        raise ObservationError(f"proprio must be {(batch, spec.proprio_dim)}, got {tuple(proprio.shape)}")
    # Negated, so that NaN counts: it compares as False.
    wrong = torch.nonzero(~(proprio.abs() <= LARGEST))
    if len(wrong):
        row, element = wrong[0].tolist()
        raise ObservationError(
            f"proprio of observation {row}, element {element}, is {float(proprio[row, element]):g}: not finite or "
            f"beyond ±{LARGEST:g} rad or rad/s; check the driver"
        )
