"""Comparison of a VLA with demonstrations: their action scale, and the error of its chunks."""

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
    """Measure figures over ``limit`` frames, evenly spread.

    Args:
        vla: the model.
        frames: recorded observations.
        chunk: C, the step whose displacement sets the action scale.
        limit: frames for the VLA.

    Returns:
        ``action_scale``: rad, standard deviation of the teacher's motion of each joint in C steps, for an adapter;
        ``error`` and ``still``: rad, RMS distance of the VLA's target at step C from the teacher's, and that of no
        motion; ``spread`` and ``cosine`` of the embeddings over the frames.
    """
    sampled = torch.linspace(0, len(frames) - 1, min(limit, len(frames))).long()
    step = min(chunk, vla.spec.horizon) - 1
    all_frames = frames.displacements(torch.arange(len(frames)), chunk)[:, chunk - 1].double()
    generator = torch.Generator().manual_seed(0)
    predicted, embeddings = [], []
    for rows in sampled.split(_BATCH):
        output = vla.act(_resized(frames.observations(rows), vla.spec.image_size), generator=generator)
        predicted.append(output.chunk[:, step].double() * vla.action_scale.double())
        embeddings.append((output.embeddings * output.mask[..., None]).mean(dim=1))
    target = frames.displacements(sampled, step + 1)[:, step].double()
    spread, cosine = spread_and_cosine(torch.cat(embeddings))
    return {
        "frames": len(sampled),
        "action_scale": [round(float(value), 5) for value in all_frames.std(dim=0)],
        "error": float((torch.cat(predicted) - target).square().mean().sqrt()),
        "still": float(target.square().mean().sqrt()),
        "spread": spread,
        "cosine": cosine,
    }


def _resized(observations: ObservationBatch, size: tuple[int, int]) -> ObservationBatch:
    """Resize images to the VLA's size, like `perception_node`."""
    images = {
        camera: torch.from_numpy(np.stack([resize(picture, *size) for picture in pictures.numpy()]))
        for camera, pictures in observations.images.items()
    }
    return dataclasses.replace(observations, images=images)
