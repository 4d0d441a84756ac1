"""Validation of policy updates: a rejected one does not change the policy in use."""

from __future__ import annotations

import torch

from rlt_ros.learning.checkpoint import PolicyUpdate, import_actor
from rlt_ros.rlt.config import Shapes
from rlt_ros.store.lineage import Lineage


class PolicyRefused(ValueError):
    """Rejection of a readable actor. The message gives the reason."""


class PolicyValidator:
    """Validation of policy updates, in order of arrival.

    Args:
        shapes: sizes of robot and token.
        lineage: frozen parts in use.

    Attributes:
        current: newest accepted actor.
    """

    def __init__(self, shapes: Shapes, lineage: Lineage) -> None:
        self._shapes, self._lineage = shapes, lineage
        self._stamp = 0
        self.current: PolicyUpdate | None = None

    def accept(
        self, data: bytes, *, version: int, lineage: Lineage, stamp: int, origin: str = "policy update"
    ) -> PolicyUpdate:
        """Validate an exported actor and make it the current one.

        Args:
            data: result of :func:`rlt_ros.learning.checkpoint.export_actor`.
            version: version claimed by the sender.
            lineage: lineage claimed by the sender.
            stamp: time of sending, ns; decides between two actors of the same version. A lower version is older
                regardless of its stamp: a learner that continues from a checkpoint soon passes the version in use.
            origin: name of the sender in errors.

        Raises:
            StorageError: the bytes are damaged or of another kind.
            LineageError: the actor was trained on other frozen parts.
            PolicyRefused: the actor is older than the current one, contradicts its sender, or has non-finite weights.
        """
        current = self.current
        if current and (version, stamp) <= (current.version, self._stamp):
            raise PolicyRefused(
                f"{origin}: version {version} is not newer than {current.version}, which is in use"
            )
        update = import_actor(data, shapes=self._shapes, lineage=self._lineage, origin=origin)
        if (update.version, update.lineage) != (version, lineage):
            raise PolicyRefused(
                f"{origin}: holds version {update.version} of `{update.lineage.actor}`, but claims version {version} "
                f"of `{lineage.actor}`"
            )
        # An unfitted actor has infinite bounds; only weights must be finite.
        faulty = any(not bool(torch.isfinite(value).all()) for value in update.actor.parameters())
        if faulty or any(bool(torch.isnan(value).any()) for value in update.actor.buffers()):
            raise PolicyRefused(f"{origin}: version {version} has weights that are NaN or infinite")
        self.current, self._stamp = update, stamp
        return update
