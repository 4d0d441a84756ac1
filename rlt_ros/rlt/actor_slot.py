"""The place of the actor where it acts: what is put there was checked, and what was refused leaves the old one."""

from __future__ import annotations

import torch

from rlt_ros.rlt.checkpoint import PolicyUpdate, import_actor
from rlt_ros.rlt.config import Shapes
from rlt_ros.rlt.lineage import Lineage


class PolicyRefused(ValueError):
    """An actor that is not used, although it could be read. The message says why."""


class ActorSlot:
    """Checks actors one after the other.

    Args:
        shapes: sizes that the robot and the token need.
        lineage: frozen parts at hand.

    Attributes:
        current: the newest actor that was taken.
    """

    def __init__(self, shapes: Shapes, lineage: Lineage) -> None:
        self._shapes, self._lineage = shapes, lineage
        self._stamp = 0
        self.current: PolicyUpdate | None = None

    def put(
        self, data: bytes, *, version: int, lineage: Lineage, stamp: int, origin: str = "policy update"
    ) -> PolicyUpdate:
        """Take an exported actor.

        Args:
            data: what :func:`rlt_ros.rlt.checkpoint.export_actor` made.
            version: that the sender says.
            lineage: that the sender says.
            stamp: when it was sent, ns; decides between two of the same version. A lower version is older whatever its
                stamp: a learner that continues from a checkpoint soon passes the version in use.
            origin: names the sender in errors.

        Raises:
            StorageError: the bytes are damaged or something else.
            LineageError: it was trained on other frozen parts.
            PolicyRefused: it is older than the one at hand, contradicts its sender, or has weights that are no numbers.
        """
        current = self.current
        if current and (version, stamp) <= (current.version, self._stamp):
            raise PolicyRefused(
                f"{origin}: version {version} is not newer than {current.version}, which is in use"
            )
        update = import_actor(data, shapes=self._shapes, lineage=self._lineage, origin=origin)
        if (update.version, update.lineage) != (version, lineage):
            raise PolicyRefused(
                f"{origin}: holds version {update.version} of `{update.lineage.actor}`, but says version {version} of "
                f"`{lineage.actor}`"
            )
        # The bounds of an actor that was never fitted are infinite; no weight is.
        faulty = any(not bool(torch.isfinite(value).all()) for value in update.actor.parameters())
        if faulty or any(bool(torch.isnan(value).any()) for value in update.actor.buffers()):
            raise PolicyRefused(f"{origin}: version {version} has weights that are NaN or infinite")
        self.current, self._stamp = update, stamp
        return update
