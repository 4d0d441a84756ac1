"""Common parts of the tiny policies: joints, cameras, words, adapter, and observations."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import yaml

from rlt_ros.vla import VLA, ObservationBatch

JOINTS, CHUNK = 7, 12
CAMERAS = {"head": "top", "hand_right": "wrist"}
PROMPTS = ["plug the charger", "lift it", "plug the charger into the power strip"]
WORDS = (
    "plug",
    "the",
    "charger",
    "into",
    "power",
    "strip",
    "lift",
    "it",
    "do",
    "nothing",
    "move",
    "to",
    "left",
    "of",
)

ADAPTER: dict[str, Any] = {
    "joints": JOINTS,
    "cameras": CAMERAS,
    "image_size": [16, 16],
    "action_scale": [0.02] * JOINTS,
    "device": "cpu",
    "relative": True,
}


def features(*others: str) -> dict[str, Any]:
    """A policy's inputs and outputs, with cameras beside those of the adapter."""
    from lerobot.configs.types import FeatureType, PolicyFeature

    cameras = {
        f"observation.images.{name}": PolicyFeature(FeatureType.VISUAL, (3, 16, 16))
        for name in (*CAMERAS.values(), *others)
    }
    return {
        "input_features": {"observation.state": PolicyFeature(FeatureType.STATE, (JOINTS,)), **cameras},
        "output_features": {"action": PolicyFeature(FeatureType.ACTION, (JOINTS,))},
    }


def observations(count: int = 3) -> ObservationBatch:
    """The same ones every time, each with a prompt of another length."""
    random = torch.Generator().manual_seed(0)
    images = {
        camera: torch.randint(256, (count, 16, 16, 3), dtype=torch.uint8, generator=random)
        for camera in CAMERAS
    }
    return ObservationBatch(images, torch.randn(count, 2 * JOINTS, generator=random), PROMPTS[:count])


def with_adapter(checkpoint: Path, folder: Path, **changes: Any) -> str:
    """Name of the checkpoint with another adapter."""
    adapter = folder / "adapter.yaml"
    adapter.write_text(yaml.safe_dump({**ADAPTER, **changes}))
    return f"lerobot:{checkpoint}@{adapter}"


def assert_nearly_the_same(exact: VLA, rough: VLA) -> None:
    """Check that the outputs differ, but only slightly.

    Rounding is not all: in half precision, transformers 4 numbers the patches of a picture otherwise.
    """
    one, other = (
        vla.act(observations(), generator=torch.Generator().manual_seed(1)) for vla in (exact, rough)
    )
    assert not torch.equal(one.embeddings, other.embeddings)
    for a, b in ((one.embeddings, other.embeddings), (one.chunk, other.chunk)):
        assert torch.nn.functional.cosine_similarity(a, b, dim=2).mean() > 0.9
