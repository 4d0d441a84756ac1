"""Lineage: fingerprints of the frozen parts behind a row, a checkpoint or a policy. Different lineages never mix.

A token from another encoder has the same shape and another meaning, so its only symptom is a policy that does not
learn. Fingerprints make it an error at start-up.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

FROZEN_PARTS = ("vla", "token", "stats")
"""Parts that stay the same for a whole run; the actor changes with every policy update."""


class LineageError(ValueError):
    """Rejected mix of two lineages."""


def fingerprint(content: bytes | Mapping[str, Tensor]) -> str:
    """Sixteen hex digits of SHA-256 over bytes, or over the names, types, shapes and values of tensors.

    Independent of the order of a mapping and of the device and memory layout of its tensors.
    """
    return digest(content).hexdigest()[:16]


def digest(content: bytes | Mapping[str, Tensor]) -> hashlib._Hash:
    """SHA-256 object of :func:`fingerprint`, to extend or to read in full length."""
    if isinstance(content, bytes | bytearray | memoryview):
        return hashlib.sha256(content)
    # Processes on the robot's side use lineages without torch.
    import torch

    result = hashlib.sha256()
    for name in sorted(content):
        tensor = content[name].detach().cpu().contiguous()
        result.update(f"{name}\0{tensor.dtype}\0{tuple(tensor.shape)}\0".encode())
        if tensor.numel():
            result.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return result


@dataclasses.dataclass(frozen=True)
class Lineage:
    """Fingerprints of the parts behind a row, checkpoint or policy; empty for an absent part.

    Attributes:
        vla: the frozen VLA's weights.
        token: the RL-token encoder's weights.
        stats: normalisation statistics and action space.
        actor: the policy version.
    """

    vla: str = ""
    token: str = ""
    stats: str = ""
    actor: str = ""

    def require_same(self, other: Lineage, *, what: str, parts: Iterable[str] = FROZEN_PARTS) -> None:
        """Raise :class:`LineageError` unless ``other``, found in ``what`` (a file), has the same parts."""
        differing = [part for part in parts if getattr(self, part) != getattr(other, part)]
        if differing:
            details = "; ".join(
                f"{part} is `{getattr(other, part)}` there and `{getattr(self, part)}` here"
                for part in differing
            )
            raise LineageError(
                f"{what} was made by other parts: {details}. Use the parts that made it, or start a new run"
            )

    def as_metadata(self) -> dict[str, str]:
        """Parts as ``lineage.<part>`` entries for a file's metadata."""
        return {f"lineage.{name}": value for name, value in dataclasses.asdict(self).items()}

    @staticmethod
    def from_metadata(metadata: Mapping[str, str]) -> Lineage:
        """Inverse of :meth:`as_metadata`."""
        try:
            return Lineage(
                **{field.name: metadata[f"lineage.{field.name}"] for field in dataclasses.fields(Lineage)}
            )
        except KeyError as error:
            raise LineageError(
                f"the metadata holds no {error}; the file has no lineage, make it again"
            ) from None
