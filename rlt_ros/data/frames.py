"""Camera frames of demonstrations as training samples."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from rlt_ros.data.demonstrations import Demonstration, DemonstrationError
from rlt_ros.vla.protocol import ObservationBatch


class Frames:
    """Index over all camera frames of some demonstrations. Images stay in their files until they are used."""

    def __init__(self, demonstrations: Sequence[Demonstration], cameras: Sequence[str]) -> None:
        """Raise `DemonstrationError` if a demonstration lacks a camera or differs in shape from the first."""
        if not demonstrations:
            raise DemonstrationError("no demonstrations to take frames from")
        self.demonstrations = list(demonstrations)
        self.cameras = tuple(cameras)
        first = demonstrations[0]
        for demonstration in demonstrations:
            missing = set(cameras) - demonstration.images.keys()
            if missing:
                raise DemonstrationError(
                    f"{_name(demonstration)} lacks cameras {sorted(missing)}; record it again"
                )
            sizes = {demonstration.images[camera].shape[1:3] for camera in cameras}
            if (
                sizes != {first.images[self.cameras[0]].shape[1:3]}
                or demonstration.action_dim != first.action_dim
            ):
                raise DemonstrationError(
                    f"{_name(demonstration)} differs from {_name(first)} in image size or joints"
                )
        counts = [len(d.image_steps) for d in demonstrations]
        self._episode = np.repeat(np.arange(len(demonstrations)), counts)
        self._frame = np.concatenate([np.arange(count) for count in counts])

    def __len__(self) -> int:
        """Number of frames."""
        return len(self._episode)

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width, pixels."""
        height, width = self.demonstrations[0].images[self.cameras[0]].shape[1:3]
        return height, width

    def episodes(self, indices: Tensor) -> Tensor:
        """Demonstration of each frame, (n,) int64."""
        return torch.from_numpy(self._episode[indices.numpy()])

    def observations(self, indices: Tensor) -> ObservationBatch:
        """Observations of some frames."""
        rows = indices.numpy()
        height, width = self.image_size
        images = {c: np.empty((len(rows), height, width, 3), np.uint8) for c in self.cameras}
        proprio, instructions = [], []
        for row, index in enumerate(rows):
            demonstration, frame = self.demonstrations[self._episode[index]], self._frame[index]
            for camera, target in images.items():
                target[row] = demonstration.images[camera][frame]
            step = demonstration.image_steps[frame]
            proprio.append(np.concatenate([demonstration.position[step], demonstration.velocity[step]]))
            instructions.append(demonstration.instruction)
        tensors = {camera: torch.from_numpy(array) for camera, array in images.items()}
        return ObservationBatch(tensors, torch.from_numpy(np.stack(proprio)), instructions)

    def displacements(self, indices: Tensor, horizon: int) -> Tensor:
        """(n, H, A) rad: commands of the next H steps minus the observed position."""
        rows = [
            displacements(demonstration, np.array([step]), horizon)[0]
            for demonstration, step in self._at(indices)
        ]
        return torch.from_numpy(np.stack(rows))

    def goals(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        """(n, A) rad from the observed position to the end of the demonstration, and (n,) bool: success.

        The end of a failed demonstration is no goal.
        """
        rows = [
            demonstration.position[-1] - demonstration.position[step]
            for demonstration, step in self._at(indices)
        ]
        success = [demonstration.success for demonstration, _ in self._at(indices)]
        return torch.from_numpy(np.stack(rows)), torch.tensor(success)

    def privileged(self, indices: Tensor) -> Tensor:
        """(n, K) simulator truth, for probing only. Raises `DemonstrationError` if a recording has none."""
        rows = []
        for demonstration, step in self._at(indices):
            if demonstration.privileged is None:
                raise DemonstrationError(f"{_name(demonstration)} has no privileged truth to probe against")
            rows.append(demonstration.privileged[step])
        return torch.from_numpy(np.stack(rows))

    def _at(self, indices: Tensor) -> list[tuple[Demonstration, np.int32]]:
        pairs = []
        for index in indices.numpy():
            demonstration = self.demonstrations[self._episode[index]]
            pairs.append((demonstration, demonstration.image_steps[self._frame[index]]))
        return pairs


def displacements(demonstration: Demonstration, steps: np.ndarray, horizon: int) -> np.ndarray:
    """(n, H, A) rad: commands of the next H steps minus the position at each of ``steps``.

    After the end of the demonstration the last command holds.
    """
    future = np.minimum(steps[:, None] + np.arange(horizon), demonstration.steps - 1)
    result: np.ndarray = demonstration.command[future] - demonstration.position[steps][:, None]
    return result


def split(
    demonstrations: Sequence[Demonstration], held_out: int
) -> tuple[list[Demonstration], list[Demonstration]]:
    """Training and validation demonstrations; every ``held_out``-th of each task is for validation."""
    train: list[Demonstration] = []
    validation: list[Demonstration] = []
    counts: dict[str, int] = {}
    for demonstration in demonstrations:
        counts[demonstration.task] = counts.get(demonstration.task, 0) + 1
        (validation if counts[demonstration.task] % held_out == 0 else train).append(demonstration)
    return train, validation


def _name(demonstration: Demonstration) -> str:
    return f"demonstration {demonstration.task}/{demonstration.seed}"
