"""Recorded demonstrations: one safetensors file per episode, read through a memory map.

A demonstration contains the joint state at every control step, the absolute joint target sent after it, and camera
images at every few control steps. The arrays of a loaded demonstration are views of the file, so a folder of any size
only costs the touched pages.

File names are ``<task>-<seed>.safetensors``: recording a seed again replaces the file, and an interrupted recorder
finds the missing seeds by name.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from rlt_ros.store.documents import parse_json
from rlt_ros.store.storage import save_tensors

KIND = "demonstration"
_SUFFIX = ".safetensors"
_IMAGE_PREFIX = "image."
_DTYPES = {"F32": np.float32, "U8": np.uint8, "I32": np.int32}
_HEADER_LENGTH_BYTES = 8
# As written by rlt.storage.
_KIND_KEY = "rlt_ros.kind"


class DemonstrationError(ValueError):
    """Invalid demonstration, or file without one."""


@dataclass(frozen=True)
class Demonstration:
    """Recorded episode of ``T`` control steps with ``N`` camera frames.

    ``command[t]`` is the absolute joint target sent after the observation of step ``t``; ``images[camera][i]`` belongs
    to control step ``image_steps[i]``. All cameras share ``image_steps``.
    """

    task: str
    instruction: str
    seed: int
    hz: float
    """Control rate, 1/s."""
    success: bool
    position: np.ndarray
    """(T, A) float32, joint positions, rad."""
    velocity: np.ndarray
    """(T, A) float32, joint velocities, rad/s."""
    command: np.ndarray
    """(T, A) float32, joint targets, rad."""
    images: Mapping[str, np.ndarray]
    """Camera name → (N, h, w, 3) uint8."""
    image_steps: np.ndarray
    """(N,) int32, strictly increasing, within ``[0, T)``."""
    privileged: np.ndarray | None = None
    """(T, K) float32 simulator truth, for probing representations; never an input of a policy."""

    def __post_init__(self) -> None:
        """Check shapes, types and values; raise `DemonstrationError` naming the field."""
        if not self.task or not self.instruction:
            raise DemonstrationError(
                f"demonstration needs a task and an instruction, got {self.task!r}, {self.instruction!r}"
            )
        if not self.hz > 0:
            raise DemonstrationError(f"hz must be positive, got {self.hz}")
        if self.position.ndim != 2 or len(self.position) == 0:
            raise DemonstrationError(f"position must be (T, A) with T ≥ 1, got shape {self.position.shape}")
        for name in ("position", "velocity", "command"):
            _check_real(name, getattr(self, name), self.position.shape)
        if self.privileged is not None:
            if self.privileged.ndim != 2:
                raise DemonstrationError(f"privileged must be (T, K), got shape {self.privileged.shape}")
            _check_real("privileged", self.privileged, (self.steps, self.privileged.shape[1]))
        self._check_images()

    def _check_images(self) -> None:
        stamps = self.image_steps
        if stamps.dtype != np.int32 or stamps.ndim != 1 or len(stamps) == 0:
            raise DemonstrationError(
                f"image_steps must be (N,) int32 with N ≥ 1, got {stamps.dtype} {stamps.shape}"
            )
        if np.any(np.diff(stamps) <= 0) or stamps[0] < 0 or stamps[-1] >= self.steps:
            raise DemonstrationError(f"image_steps must increase strictly within [0, {self.steps})")
        if not self.images:
            raise DemonstrationError("demonstration has no camera")
        for camera, frames in self.images.items():
            if (
                frames.dtype != np.uint8
                or frames.ndim != 4
                or frames.shape[0] != len(stamps)
                or frames.shape[3] != 3
            ):
                raise DemonstrationError(
                    f"images of camera {camera!r} must be uint8 ({len(stamps)}, h, w, 3), "
                    f"got {frames.dtype} {frames.shape}"
                )

    @property
    def steps(self) -> int:
        """Number of control steps T."""
        return len(self.position)

    @property
    def action_dim(self) -> int:
        """Number of joints A."""
        return int(self.position.shape[1])

    @property
    def proprio(self) -> np.ndarray:
        """(T, 2A) float32: positions, then velocities."""
        return np.concatenate([self.position, self.velocity], axis=1)


def file_name(task: str, seed: int) -> str:
    """File name of one seed of a task."""
    return f"{task}-{seed:06d}{_SUFFIX}"


def save(demonstration: Demonstration, folder: Path) -> Path:
    """Write a demonstration atomically into ``folder``, created if missing, and return the file's path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / file_name(demonstration.task, demonstration.seed)
    arrays = {
        "position": demonstration.position,
        "velocity": demonstration.velocity,
        "command": demonstration.command,
        "image_steps": demonstration.image_steps,
        **{_IMAGE_PREFIX + camera: frames for camera, frames in demonstration.images.items()},
    }
    if demonstration.privileged is not None:
        arrays["privileged"] = demonstration.privileged
    metadata = {
        "task": demonstration.task,
        "instruction": demonstration.instruction,
        "seed": str(demonstration.seed),
        "hz": repr(float(demonstration.hz)),
        "success": str(int(demonstration.success)),
    }
    tensors = {name: torch.from_numpy(np.array(value, order="C")) for name, value in arrays.items()}
    save_tensors(path, tensors, kind=KIND, metadata=metadata)
    return path


def load(path: Path) -> Demonstration:
    """Map one demonstration file; its arrays are read-only views of the file.

    Raises `DemonstrationError` for a truncated file, a file of another kind, or invalid content. The checksum is not
    verified, which would read every image; `rlt_ros.store.storage.load_tensors` does it.
    """
    arrays, metadata = _map_file(path)
    missing = {"position", "velocity", "command", "image_steps"} - arrays.keys()
    if missing or not {"task", "instruction", "seed", "hz", "success"} <= metadata.keys():
        raise DemonstrationError(
            f"{path}: not a demonstration (missing {sorted(missing) or 'metadata'}); record it again"
        )
    try:
        return Demonstration(
            task=metadata["task"],
            instruction=metadata["instruction"],
            seed=int(metadata["seed"]),
            hz=float(metadata["hz"]),
            success=metadata["success"] == "1",
            position=arrays["position"],
            velocity=arrays["velocity"],
            command=arrays["command"],
            images={
                k.removeprefix(_IMAGE_PREFIX): v for k, v in arrays.items() if k.startswith(_IMAGE_PREFIX)
            },
            image_steps=arrays["image_steps"],
            privileged=arrays.get("privileged"),
        )
    except ValueError as error:
        raise DemonstrationError(f"{path}: {error}") from error


def load_folder(folder: Path) -> list[Demonstration]:
    """Load all demonstrations below ``folder``, sorted by path.

    They are copied to memory if they take less than a quarter of it, since training reads images many times at random;
    otherwise they stay mapped files.

    Raises `DemonstrationError` if there are none.
    """
    paths = sorted(folder.rglob("*" + _SUFFIX))
    if not paths:
        raise DemonstrationError(
            f"{folder}: contains no demonstration (*{_SUFFIX}); record some with `rlt-ros pretrain`"
        )
    demonstrations = [load(path) for path in paths]
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if 4 * sum(path.stat().st_size for path in paths) > memory:
        return demonstrations
    return [
        dataclasses.replace(d, images={camera: np.array(frames) for camera, frames in d.images.items()})
        for d in demonstrations
    ]


def _check_real(name: str, array: np.ndarray, shape: tuple[int, ...]) -> None:
    if array.dtype != np.float32 or array.shape != shape:
        raise DemonstrationError(f"{name} must be float32 {shape}, got {array.dtype} {array.shape}")
    if not np.isfinite(array).all():
        raise DemonstrationError(f"{name} holds NaN or infinite values")


def _map_file(path: Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Arrays as views of one read-only memory map of a safetensors file, and its string metadata.

    The layout (8 bytes little-endian header length, JSON header, data) is parsed here because the safetensors library
    copies arrays.
    """
    try:
        raw = np.memmap(path, dtype=np.uint8, mode="r")
        start = _HEADER_LENGTH_BYTES + int.from_bytes(raw[:_HEADER_LENGTH_BYTES].tobytes(), "little")
        header = parse_json(raw[_HEADER_LENGTH_BYTES:start].tobytes())
        metadata = header.pop("__metadata__")
        if metadata[_KIND_KEY] != KIND:
            raise DemonstrationError(f"{path}: holds {metadata[_KIND_KEY]!r}, expected {KIND!r}")
        arrays = {
            name: raw[start + info["data_offsets"][0] : start + info["data_offsets"][1]]
            .view(_DTYPES[info["dtype"]])
            .reshape(info["shape"])
            for name, info in header.items()
        }
    except DemonstrationError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DemonstrationError(
            f"{path}: not a complete demonstration file ({error}); record it again"
        ) from error
    return arrays, metadata
