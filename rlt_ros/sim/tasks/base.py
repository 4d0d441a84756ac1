"""Precision task: a tool in the gripper, a fixture on the bench, and the condition for being mated."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import mujoco
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Randomisation:
    """Ranges of an episode's conditions, uniform in ± the value.

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
    """Precision task. Frames: `mate` on the tool, `face` on the fixture (z out of the face); mated means equal origins
    and opposite z axes.

    Class attributes:
        name: name on the command line.
        instruction: instruction for the VLA.
        reach: distance from the tool's leading tip to the mate frame, m; the tip touches the face at this height.
        seat: largest height of the mate frame over the face that counts as mated, m.
        lateral: largest sideways distance that counts as mated, m.
        clearance: play between tool and fixture on each side, m.
        mate_height: distance from the tool centre to the mate frame, along the tool, m.
        hold_steps: control steps in the mated pose until success, 0.1 s at 50 Hz, so that a bounce does not count.
        critical_distance: distance from tip to socket at which the critical phase begins, m.
        critical_limit: control steps of the critical phase, 4 s.
        approach_limit: control steps of the approach, 4 s.
        lost_distance: distance from tip to socket at which an operator would end the attempt, m.
    """

    name: str
    instruction: str
    reach: float
    seat: float = 0.002
    lateral: float = 0.002
    clearance: float
    mate_height: float
    randomisation = Randomisation()
    hold_steps = 5
    critical_distance = 0.030
    critical_limit = 200
    approach_limit = 200
    lost_distance = 0.10

    @abstractmethod
    def add_tool(self, tool: mujoco.MjsBody) -> None:
        """Add the tool's geoms; z of `tool` points out of the gripper, its origin is the tool centre."""

    @abstractmethod
    def add_fixture(self, fixture: mujoco.MjsBody) -> None:
        """Add the fixture's geoms; its origin is in the face, z points out of it."""

    def mated(self, relative: Array) -> bool:
        """True if the mate frame at `relative` in the face frame (x, y, height m; rotation vector) is mated."""
        sideways = float(np.hypot(relative[0], relative[1]))
        return bool(relative[2] < self.seat and sideways < self.lateral)

    def critical(self, relative: Array) -> bool:
        """True if the tip is close enough to the socket for the critical phase."""
        return bool(np.linalg.norm(relative[:3] - [0.0, 0.0, self.reach]) < self.critical_distance)
