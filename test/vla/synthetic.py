"""Demonstrations of a toy reaching task whose target only the pixels show: a soft square that moves as the
arm does.
"""

from __future__ import annotations

import numpy as np

from rlt_ros.data import Demonstration

CAMERAS = ("head", "hand_right")
INSTRUCTIONS = {"left": "move to the left of the square", "right": "move to the right of the square"}
_SIDE_RAD = {"left": -0.12, "right": 0.12}


def demonstration(
    task: str,
    seed: int,
    *,
    steps: int = 40,
    size: int = 32,
    cameras: tuple[str, ...] = CAMERAS,
    joints: int = 2,
) -> Demonstration:
    """The first two joints approach the square, or a point on one side of it, according to the instruction."""
    random = np.random.default_rng([seed, len(task)])
    square = random.uniform(-0.2, 0.2, 2)
    goal = np.zeros(joints)
    goal[:2] = square + np.array([_SIDE_RAD[task], 0.0])
    position = np.zeros((steps, joints))
    command = np.zeros((steps, joints))
    position[0] = goal + np.concatenate([random.uniform(-0.3, 0.3, 2), np.zeros(joints - 2)])
    for step in range(steps):
        command[step] = position[step] + 0.12 * (goal - position[step])
        if step + 1 < steps:
            position[step + 1] = command[step]
    # It would give the target away.
    velocity = np.zeros_like(position)
    image_steps = np.arange(0, steps, 2, dtype=np.int32)
    relative = square - position[:, :2]
    colours = random.uniform(40, 215, (2, 3))
    images = {c: render(relative[image_steps], size, colours, mirrored=c == "head") for c in cameras}
    as_float = [array.astype(np.float32) for array in (position, velocity, command)]
    return Demonstration(
        task,
        INSTRUCTIONS[task],
        seed,
        50.0,
        True,
        *as_float,
        images,
        image_steps,
        (goal - position)[:, :2].astype(np.float32),
    )


def demonstrations(per_task: int, **kwargs: object) -> list[Demonstration]:
    """Some demonstrations of both tasks."""
    return [demonstration(task, seed, **kwargs) for task in INSTRUCTIONS for seed in range(per_task)]  # type: ignore[arg-type]


def render(relative: np.ndarray, size: int, colours: np.ndarray, *, mirrored: bool) -> np.ndarray:
    """(N, size, size, 3) uint8: a square at ``relative`` (N, 2) rad from the image's centre, one rad being
    1.2 images.
    """
    grid = (np.arange(size) + 0.5) / size - 0.5
    sign = -1.0 if mirrored else 1.0
    across = np.clip((0.12 - np.abs(grid - sign * 1.2 * relative[:, :1])) * size + 0.5, 0, 1)
    down = np.clip((0.12 - np.abs(grid - 1.2 * relative[:, 1:])) * size + 0.5, 0, 1)
    inside = (down[:, :, None] * across[:, None, :])[..., None]
    picture: np.ndarray = colours[0] * (1 - inside) + colours[1] * inside
    return picture.round().astype(np.uint8)
