"""Checkpoints of external VLAs: checks before a library opens them, identity, device, and image preparation."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from rlt_ros.store.documents import read_json_object
from rlt_ros.store.lineage import fingerprint
from rlt_ros.store.parameters import ConfigError
from rlt_ros.vla.adapter import AdapterConfig
from rlt_ros.vla.errors import VLALoadError
from rlt_ros.vla.protocol import ObservationBatch

MAX_CONFIG_BYTES = 16 * 2**20
"""A config.json has a few kB."""


def check_folder(folder: Path, *, kind: str, needed: tuple[str, ...] = ()) -> dict[str, Any]:
    """Read the `config.json` of a checkpoint folder, and check that all files are present, weights as safetensors.

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
    """Read a JSON object. Raises `VLALoadError` if the file holds none."""
    try:
        if path.stat().st_size > MAX_CONFIG_BYTES:
            raise ValueError(f"larger than {MAX_CONFIG_BYTES} bytes")
        return read_json_object(path)
    except (OSError, ValueError) as error:
        raise VLALoadError(f"{path}: cannot be read ({error}); fetch the checkpoint again") from error


def choose_device(adapter: AdapterConfig) -> torch.device:
    """Device of an adapter's `device`.

    Raises:
        ConfigError: this machine does not have it.
    """
    name = adapter.device
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ConfigError(f"the adapter's `device` is {name!r}; give auto, cpu, cuda or cuda:N") from error
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ConfigError(f"the adapter's `device` is {name}, and this machine does not have it; give auto")
    return device


def identity(weights: Mapping[str, Tensor], config: Mapping[str, Any], adapter: AdapterConfig) -> str:
    """Fingerprint of weights, architecture and the adapter's numbers.

    Device, tokens and server of the adapter do not affect data, and neither does the folder's path.
    """
    numeric = repr(
        (
            adapter.cameras,
            adapter.image_size,
            adapter.action_scale,
            adapter.relative,
            adapter.horizon,
            adapter.state,
            adapter.actions,
        )
    )
    text = json.dumps(config, sort_keys=True, default=str)
    return fingerprint(f"{fingerprint(weights)}{text}{numeric}".encode())


def fit_images(observations: ObservationBatch, cameras: Mapping[str, str], size: tuple[int, int]) -> Tensor:
    """(B, cameras, 3, h, w) float32 in 0 to 1: images of the robot's cameras, fitted into ``size`` as openpi does.

    Proportions are kept; the rest is black, equally on both sides.
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
