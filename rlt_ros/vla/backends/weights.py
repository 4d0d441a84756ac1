"""What every checkpoint is checked for before a library opens it; its identity, its device and its pictures."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from rlt_ros.rlt.documents import read_json_object
from rlt_ros.rlt.lineage import fingerprint
from rlt_ros.rlt.parameters import ConfigError
from rlt_ros.vla.card import VLACard
from rlt_ros.vla.errors import VLALoadError
from rlt_ros.vla.protocol import ObservationBatch

_LARGEST_CONFIG = 16 * 2**20  # bytes; a config.json is a few kB


def check_folder(folder: Path, *, kind: str, needed: tuple[str, ...] = ()) -> dict[str, Any]:
    """The `config.json` of a checkpoint folder that holds everything a library needs, weights as safetensors.

    Raises:
        VLALoadError: a file is missing or no JSON object, or the weights are pickled.
    """
    missing = [name for name in ("config.json", *needed) if not (folder / name).is_file()]
    if missing:
        have = ", ".join(sorted(path.name for path in folder.iterdir())[:12]) or "nothing"
        raise VLALoadError(
            f"{folder}: lacks {', '.join(missing)}, so it is no {kind} checkpoint (it holds {have}); "
            "fetch the whole checkpoint"
        )
    if not any(folder.glob("*.safetensors")):
        pickled = sorted(path.name for pattern in ("*.bin", "*.pt", "*.pth") for path in folder.glob(pattern))
        why = f"only {', '.join(pickled)}, and pickled weights are never loaded" if pickled else "no weights"
        raise VLALoadError(f"{folder}: holds {why}; save it with `save_pretrained`, which writes safetensors")
    return read_config(folder / "config.json")


def read_config(path: Path) -> dict[str, Any]:
    """A JSON object. Raises `VLALoadError` when it is none."""
    try:
        if path.stat().st_size > _LARGEST_CONFIG:
            raise ValueError("it is far too large")
        return read_json_object(path)
    except (OSError, ValueError) as error:
        raise VLALoadError(f"{path}: cannot be read ({error}); fetch the checkpoint again") from error


def choose_device(card: VLACard) -> torch.device:
    """The device that a card asks for.

    Raises:
        ConfigError: this machine does not have it.
    """
    name = card.device
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ConfigError(f"the card's `device` is {name!r}; give auto, cpu, cuda or cuda:N") from error
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ConfigError(f"the card's `device` is {name}, and this machine does not have it; give auto")
    return device


def identity(weights: Mapping[str, Tensor], config: Mapping[str, Any], card: VLACard) -> str:
    """Fingerprint of weights, architecture and of what the card says about numbers.

    Device, tokens and server of the card change nothing that is learned from; neither does a folder's place.
    """
    said = repr(
        (
            card.cameras,
            card.image_size,
            card.action_scale,
            card.relative,
            card.horizon,
            card.state,
            card.actions,
        )
    )
    text = json.dumps(config, sort_keys=True, default=str)
    return fingerprint(f"{fingerprint(weights)}{text}{said}".encode())


def pictures(observations: ObservationBatch, cameras: Mapping[str, str], size: tuple[int, int]) -> Tensor:
    """(B, cameras, 3, h, w) float32 in 0 to 1: pictures of the robot's cameras, fitted into ``size`` as openpi does.

    Proportions are kept, and what remains beside the picture is black, equally on both sides.
    """
    whole = torch.stack([observations.images[camera] for camera in cameras], dim=1)
    batch, count = whole.shape[:2]
    flat = whole.flatten(0, 1).permute(0, 3, 1, 2).float() / 255
    height, width = flat.shape[2:]
    if (height, width) != size:
        shrink = max(height / size[0], width / size[1])
        fitted = (max(1, round(height / shrink)), max(1, round(width / shrink)))
        flat = functional.interpolate(flat, fitted, mode="bilinear", antialias=True, align_corners=False)
        left, top = (size[1] - fitted[1]) // 2, (size[0] - fitted[0]) // 2
        flat = functional.pad(flat, (left, size[1] - fitted[1] - left, top, size[0] - fitted[0] - top))
    return flat.clamp(0, 1).reshape(batch, count, 3, *size)
