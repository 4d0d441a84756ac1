"""What a precision task is: a tool in the gripper, a fixture on the bench, and when they count as mated."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import mujoco
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Randomisation:
    """Ranges of one episode's conditions; each is uniform in ± the value.

    Attributes:
        fixture_shift: along the bench's x, y and z axes, metres.
        fixture_turn: about the face's normal, radians.
        fixture_tilt: about the two axes in the face, radians.
        start_shift: of the tool at the start, metres.
        start_tilt: of the tool at the start about each axis, radians.
    """

    fixture_shift: tuple[float, float, float] = (0.020, 0.020, 0.008)
    fixture_turn: float = np.deg2rad(8.0)
    fixture_tilt: float = np.deg2rad(2.0)
    start_shift: tuple[float, float, float] = (0.012, 0.012, 0.010)
    start_tilt: float = np.deg2rad(4.0)


class Task(ABC):
    """A precision task. Frames: `mate` sits on the tool, `face` on the fixture (z out of the face); mated means equal
    origins and opposite z axes.

    Class attributes:
        name: as on the command line.
        instruction: the words that the VLA gets.
        reach: distance from the tool's leading tip to the mate frame, metres; the tip touches the face at this height.
        seat: greatest height of the mate frame over the face that counts as mated, metres.
        lateral: greatest sideways distance that counts as mated, metres.
        clearance: play between tool and fixture on each side, metres.
        mate_height: distance from the tool centre to the mate frame, along the tool, metres.
    """

    name: str
    instruction: str
    reach: float
    seat: float = 0.002
    lateral: float = 0.002
    clearance: float
    mate_height: float
    randomisation = Randomisation()
    hold_steps = 5  # 0.1 s at 50 Hz without leaving the mated pose, so that a bounce does not count
    critical_distance = 0.030  # m from tip to socket at which the precise part begins
    critical_limit = 200  # control steps (4 s) for the critical phase
    approach_limit = 200  # control steps (4 s) for the way there
    lost_distance = 0.10  # m from tip to socket; further away an operator would end the attempt

    @abstractmethod
    def add_tool(self, tool: mujoco.MjsBody) -> None:
        """Add the geoms that the gripper holds; z of `tool` points out of the gripper, origin at the tool centre."""

    @abstractmethod
    def add_fixture(self, fixture: mujoco.MjsBody) -> None:
        """Add the geoms of the fixture; origin in the face, z out of it."""

    def mated(self, relative: Array) -> bool:
        """Return whether the mate frame at `relative` in the face frame (x, y, height m; rotation vector) is mated."""
        sideways = float(np.hypot(relative[0], relative[1]))
        return bool(relative[2] < self.seat and sideways < self.lateral)

    def critical(self, relative: Array) -> bool:
        """Return whether the tip is so near to the socket that the precise part begins."""
        return bool(np.linalg.norm(relative[:3] - [0.0, 0.0, self.reach]) < self.critical_distance)
