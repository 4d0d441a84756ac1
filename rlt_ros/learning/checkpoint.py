"""Learner checkpoints and actor messages, with lineage and sizes that are verified on loading."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from rlt_ros.rlt.config import Shapes
from rlt_ros.rlt.learner import Learner
from rlt_ros.rlt.networks import Actor
from rlt_ros.store.lineage import Lineage, fingerprint
from rlt_ros.store.storage import StorageError, load_tensors, pack_tensors, save_tensors, unpack_tensors

LEARNER_KIND = "rlt-learner"
ACTOR_KIND = "rlt-actor"


class CheckpointError(StorageError):
    """Learner or actor of other sizes than those in use."""


@dataclasses.dataclass(frozen=True)
class PolicyUpdate:
    """Actor with its version and lineage.

    Attributes:
        actor: float32, on the CPU, without gradients.
        version: number of actor steps; a larger one is newer within a run.
        lineage: frozen parts of its training, and its own fingerprint.
    """

    actor: Actor
    version: int
    lineage: Lineage


def save_learner(
    path: str | Path, learner: Learner, *, lineage: Lineage, extra: Mapping[str, str] | None = None
) -> None:
    """Write the complete state of the next update, atomically, with ``extra`` text."""
    metadata = {**(extra or {}), **lineage.as_metadata(), **learner.shapes.as_metadata()}
    save_tensors(path, learner.state(), kind=LEARNER_KIND, metadata=metadata)


def load_learner(path: str | Path, learner: Learner, *, lineage: Lineage) -> dict[str, str]:
    """Restore a checkpoint bit by bit; returns the ``extra`` text of :func:`save_learner`.

    Raises:
        StorageError: the file is missing, truncated, foreign or damaged.
        CheckpointError: it has other shapes or layer widths.
        LineageError: it was trained on other frozen parts.
    """
    tensors, metadata = load_tensors(path, kind=LEARNER_KIND)
    _require_shapes(metadata, learner.shapes, str(path))
    lineage.require_same(Lineage.from_metadata(metadata), what=str(path))
    _require_layout(tensors, learner.state(), str(path))
    learner.load_state(tensors)
    own = lineage.as_metadata().keys() | learner.shapes.as_metadata().keys()
    return {name: text for name, text in metadata.items() if name not in own}


def export_actor(learner: Learner, *, lineage: Lineage) -> bytes:
    """Serialise the current actor as safetensors bytes with version, checksum and lineage."""
    tensors = learner.actor.state_dict()
    lineage = dataclasses.replace(lineage, actor=fingerprint(tensors))
    metadata = {
        **lineage.as_metadata(),
        **learner.shapes.as_metadata(),
        "version": str(learner.actor_steps),
        "hidden": ",".join(str(width) for width in learner.config.hidden),
    }
    return pack_tensors(tensors, kind=ACTOR_KIND, metadata=metadata)


def import_actor(
    data: bytes, *, shapes: Shapes, lineage: Lineage, origin: str = "policy update"
) -> PolicyUpdate:
    """Build an actor from bytes of :func:`export_actor`; ``origin`` names their source in errors.

    Raises:
        StorageError: the bytes are truncated, foreign or damaged.
        CheckpointError: the actor has other shapes.
        LineageError: it was trained on other frozen parts.
    """
    tensors, metadata = unpack_tensors(data, kind=ACTOR_KIND, origin=origin)
    _require_shapes(metadata, shapes, origin)
    found = Lineage.from_metadata(metadata)
    lineage.require_same(found, what=origin)
    hidden = tuple(int(width) for width in metadata["hidden"].split(","))
    return PolicyUpdate(_built(tensors, shapes, hidden, origin), int(metadata["version"]), found)


def load_actor(path: str | Path, *, shapes: Shapes, lineage: Lineage) -> PolicyUpdate:
    """Load the actor of a learner's checkpoint; raises the errors of :func:`load_learner`."""
    tensors, metadata = load_tensors(path, kind=LEARNER_KIND)
    _require_shapes(metadata, shapes, str(path))
    found = Lineage.from_metadata(metadata)
    lineage.require_same(found, what=str(path))
    own = {name.removeprefix("actor."): value for name, value in tensors.items() if name.startswith("actor.")}
    hidden = tuple(value.shape[1] for name, value in sorted(own.items()) if name.startswith("body.weights."))
    actor = _built(own, shapes, hidden, str(path))
    version = int(tensors["steps.actor"])
    return PolicyUpdate(actor, version, dataclasses.replace(found, actor=fingerprint(own)))


def _built(tensors: Mapping[str, Tensor], shapes: Shapes, hidden: tuple[int, ...], origin: str) -> Actor:
    # float32 for every `compute` of the learner: for a single state, casting weights costs more than it saves.
    actor = Actor(shapes, hidden, dtype=torch.float32, generator=torch.Generator())
    _require_layout(tensors, actor.state_dict(), origin)
    actor.load_state_dict(tensors)
    return actor.requires_grad_(False)


def _require_shapes(metadata: Mapping[str, str], shapes: Shapes, origin: str) -> None:
    found = Shapes.from_metadata(metadata)
    if found != shapes:
        raise CheckpointError(f"{origin}: was made for {found}; this robot and token need {shapes}")


def _require_layout(found: Mapping[str, Tensor], wanted: Mapping[str, Tensor], origin: str) -> None:
    differing = found.keys() ^ wanted.keys()
    if differing:
        raise CheckpointError(
            f"{origin}: `{min(differing)}` is only in one of file and configuration; "
            "use the configuration of the file (`hidden`, `target_actor`)"
        )
    for name, value in wanted.items():
        if found[name].shape != value.shape:
            raise CheckpointError(
                f"{origin}: `{name}` is {tuple(found[name].shape)} there and {tuple(value.shape)} here; "
                "use the `hidden` of the file"
            )
