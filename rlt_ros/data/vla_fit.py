"""A VLA beside demonstrations: the action scale that they have, and how far its chunks are from the teacher's."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import torch

from rlt_ros.data.frames import Frames
from rlt_ros.perception.pictures import resize
from rlt_ros.vla.fit import spread_and_cosine
from rlt_ros.vla.protocol import VLA, ObservationBatch

_BATCH = 8


def measure(vla: VLA, frames: Frames, *, chunk: int, limit: int = 64) -> dict[str, Any]:
    """Figures over ``limit`` frames, evenly spread.

    Args:
        vla: the model.
        frames: recorded observations.
        chunk: C, the step whose displacement sets the action scale.
        limit: frames that the VLA is shown.

    Returns:
        ``action_scale``: rad, standard deviation of the teacher's motion of each joint in C steps, for an adapter;
        ``error`` and ``still``: rad, RMS distance of the VLA's target at step C from the teacher's, and that of not
        moving at all; ``spread`` and ``cosine`` of the embeddings over the frames.
    """
    chosen = torch.linspace(0, len(frames) - 1, min(limit, len(frames))).long()
    step = min(chunk, vla.spec.horizon) - 1
    taught = frames.displacements(torch.arange(len(frames)), chunk)[:, chunk - 1].double()
    generator = torch.Generator().manual_seed(0)
    moved, embeddings = [], []
    for rows in chosen.split(_BATCH):
        seen = vla.act(_fitted(frames.observations(rows), vla.spec.image_size), generator=generator)
        moved.append(seen.chunk[:, step].double() * vla.action_scale.double())
        embeddings.append((seen.embeddings * seen.mask[..., None]).mean(dim=1))
    wanted = frames.displacements(chosen, step + 1)[:, step].double()
    spread, cosine = spread_and_cosine(torch.cat(embeddings))
    return {
        "frames": len(chosen),
        "action_scale": [round(float(value), 5) for value in taught.std(dim=0)],
        "error": float((torch.cat(moved) - wanted).square().mean().sqrt()),
        "still": float(wanted.square().mean().sqrt()),
        "spread": spread,
        "cosine": cosine,
    }


def _fitted(observations: ObservationBatch, size: tuple[int, int]) -> ObservationBatch:
    """The same with pictures of the size that the VLA takes, as `perception_node` makes them."""
    images = {
        camera: torch.from_numpy(np.stack([resize(picture, *size) for picture in pictures.numpy()]))
        for camera, pictures in observations.images.items()
    }
    return dataclasses.replace(observations, images=images)
