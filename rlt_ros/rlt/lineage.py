"""Which frozen parts made a row, a checkpoint or a policy; things of different lineage are never mixed.

A token from another encoder has the same shape and means something else, so the mistake shows nowhere except
in a policy that does not learn. Fingerprints make it an error at start-up.
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
    """Two things of different lineage were about to be mixed."""


def fingerprint(content: bytes | Mapping[str, Tensor]) -> str:
    """Sixteen hex digits of SHA-256 over bytes, or over the names, types, shapes and values of tensors.

    The order of a mapping, the device and the memory layout of its tensors do not matter.
    """
    return digest(content).hexdigest()[:16]


def digest(content: bytes | Mapping[str, Tensor]) -> hashlib._Hash:
    """The SHA-256 object behind :func:`fingerprint`, for those who need all of it or want to add to it."""
    if isinstance(content, bytes | bytearray | memoryview):
        return hashlib.sha256(content)
    import torch  # here, because processes on the robot's side have lineages and no tensors

    result = hashlib.sha256()
    for name in sorted(content):
        tensor = content[name].detach().cpu().contiguous()
        result.update(f"{name}\0{tensor.dtype}\0{tuple(tensor.shape)}\0".encode())
        if tensor.numel():
            result.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return result


@dataclasses.dataclass(frozen=True)
class Lineage:
    """Fingerprints of the parts that made something; an empty string stands for "no such part".

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
                f"{what} was made by other parts: {details}. Use the parts that made it, or start anew"
            )

    def as_metadata(self) -> dict[str, str]:
        """The four parts as ``lineage.<part>`` entries for a file's metadata."""
        return {f"lineage.{name}": value for name, value in dataclasses.asdict(self).items()}

    @staticmethod
    def from_metadata(metadata: Mapping[str, str]) -> Lineage:
        """Read back what :meth:`as_metadata` wrote."""
        try:
            return Lineage(
                **{field.name: metadata[f"lineage.{field.name}"] for field in dataclasses.fields(Lineage)}
            )
        except KeyError as error:
            raise LineageError(f"the metadata holds no {error}; the file does not say what made it") from None
