"""Robot of a workcell, from its profile: arm, tool, bench and cameras."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rlt_ros.robots.kinematics import Kinematics
from rlt_ros.robots.profile import DEFAULT_ROBOT, RobotProfile, load_profile
from rlt_ros.robots.simulation_profile import SimulatedCamera
from rlt_ros.store.parameters import ConfigError

Array = NDArray[np.float64]

HZ = 50.0
"""Control rate of the simulator, 1/s."""


@dataclass(frozen=True)
class Station:
    """Robot at its bench.

    Attributes:
        urdf: path of its URDF.
        base: root link.
        arm: joints of the arm with the tool, in the policy's order.
        tool_link: link of the tool; its z points out of the hand.
        posture: rad or m, of joints outside the arm; others are at 0.
        at_fixture: (A,) rad, arm posture with the mated tool.
        bench: (3,) m in the base frame, middle of the bench's board.
        cameras: by the names of the VLA.
        gripper: gripper joint in commands; None if the arm's commands have none.
        mirrors: joint → its multiple of the gripper's position.
    """

    urdf: Path
    base: str
    arm: tuple[str, ...]
    tool_link: str
    posture: Mapping[str, float]
    at_fixture: Array
    bench: tuple[float, ...]
    cameras: Mapping[str, SimulatedCamera]
    gripper: str | None
    mirrors: Mapping[str, float]

    def kinematics(self) -> Kinematics:
        """Kinematics of the arm with the rest of the robot in its posture."""
        return Kinematics(self.urdf, self.arm, self.tool_link, self.posture)


def station(profile: RobotProfile) -> Station:
    """Robot of a profile at its bench.

    Raises:
        ConfigError: the profile has no simulation, another control rate, or several drivers.
    """
    simulation = profile.simulation
    if simulation is None:
        raise ConfigError(
            f"profile {profile.name} has no `simulation`, so it cannot be simulated; add one, or use the robot itself"
        )
    if profile.control_hz != HZ:
        raise ConfigError(
            f"profile {profile.name}: `control_hz` is {profile.control_hz:g}; the simulator has {HZ:g}"
        )
    if len(profile.drivers) != 1:
        raise ConfigError(f"profile {profile.name} has `parts`; the simulator supports one driver")
    joint = profile.gripper.joint if profile.gripper is not None and profile.gripper.type == "joint" else None
    return Station(
        urdf=profile.urdf_path,
        base=profile.base_frame,
        arm=profile.joints,
        tool_link=profile.tip_frame,
        posture=profile.posture or {},
        at_fixture=np.array(simulation.at_fixture),
        bench=simulation.bench,
        cameras=simulation.cameras,
        gripper=joint,
        mirrors={} if joint is None else _mirrors(profile.urdf_path, joint),
    )


@cache
def agibot_g1() -> Station:
    """AgiBot G1 of Genie Sim."""
    return station(load_profile(DEFAULT_ROBOT))


def _mirrors(urdf: Path, joint: str) -> dict[str, float]:
    """Joints that mimic ``joint`` in the URDF, and their multiples of it."""
    followers = {}
    for other in ElementTree.parse(urdf).getroot().findall("joint"):
        mimic = other.find("mimic")
        if mimic is not None and mimic.get("joint") == joint:
            followers[str(other.get("name"))] = float(mimic.get("multiplier", "1"))
    return followers
