"""URDFs against the makers' numbers: forward kinematics in plain NumPy from their publications.

Franka and xArm are checked by Denavit-Hartenberg tables (user manuals), UR by its own (support article "DH Parameters
for calculations of kinematics and dynamics"), the AgiBot G1 by the joint table of its URDF. None of it reads a URDF.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from rlt_ros.robots.body import Body, LinkPose
from rlt_ros.robots.profile import load_profile

Array = NDArray[np.float64]

TOLERANCE = 1e-4  # m, and rad


def turn(axis: str, angle: float) -> Array:
    c, s = np.cos(angle), np.sin(angle)
    i, j = {"x": (1, 2), "y": (2, 0), "z": (0, 1)}[axis]
    pose = np.eye(4)
    pose[[i, i, j, j], [i, j, i, j]] = c, -s, s, c
    return pose


def shift(x: float, y: float, z: float) -> Array:
    pose = np.eye(4)
    pose[:3, 3] = x, y, z
    return pose


def fixed_axes(roll: float, pitch: float, yaw: float) -> Array:
    return turn("z", yaw) @ turn("y", pitch) @ turn("x", roll)


def modified(a: float, d: float, alpha: float, theta: float) -> Array:
    """Craig's convention: first about and along x, then z."""
    return turn("x", alpha) @ shift(a, 0, 0) @ turn("z", theta) @ shift(0, 0, d)


def standard(a: float, d: float, alpha: float, theta: float) -> Array:
    """Denavit and Hartenberg's own: first about and along z, then x."""
    return turn("z", theta) @ shift(0, 0, d) @ shift(a, 0, 0) @ turn("x", alpha)


def chain(
    step: Callable[[float, float, float, float], Array], table: list[tuple[float, ...]], q: Array
) -> Array:
    pose = np.eye(4)
    for (a, d, alpha), angle in zip(table, q, strict=True):
        pose = pose @ step(a, d, alpha, angle)
    return pose


QUARTER = np.pi / 2
# Franka Robotics, "Robot and interface specifications": FR3 has the link lengths of the Panda. a, d m; alpha rad.
FR3 = [
    (0, 0.333, 0),
    (0, 0, -QUARTER),
    (0, 0.316, QUARTER),
    (0.0825, 0, QUARTER),
    (-0.0825, 0.384, -QUARTER),
    (0, 0, QUARTER),
    (0.088, 0, QUARTER),
]
# Universal Robots, "DH Parameters for calculations of kinematics and dynamics", UR5e.
UR5E = [
    (0, 0.1625, QUARTER),
    (-0.425, 0, 0),
    (-0.3922, 0, 0),
    (0, 0.1333, QUARTER),
    (0, 0.0997, -QUARTER),
    (0, 0.0996, 0),
]
# UFACTORY, "Kinematic and dynamic parameters of the xArm series", xArm7, modified.
XARM7 = [
    (0, 0.267, 0),
    (0, 0, -QUARTER),
    (0, 0.293, QUARTER),
    (0.0525, 0, QUARTER),
    (0.0775, 0.3425, QUARTER),
    (0, 0, QUARTER),
    (0.076, 0.097, -QUARTER),
]
# Joint table of the AgiBot G1's published URDF, from the base to the right tool centre: xyz m, roll pitch yaw rad, and
# motion: "" none, "z" the joint turns about z, "lift" it slides along z.
G1: list[tuple[tuple[float, float, float], tuple[float, float, float], str]] = [
    ((0, 0, 0.6485), (0, 0, 0), "lift"),
    ((0.131, 0, 0), (-QUARTER, 0, 0), "z"),
    ((0, -0.305, 0), (QUARTER, 0, 0), ""),
    ((0, -0.025, 0), (-QUARTER, 0, np.pi), ""),
    ((0, 0, 0.188), (0, 0, 0), "z"),
    ((0, 0, 0), (-QUARTER, 0, -QUARTER), "z"),
    ((0, -0.305, 0), (-QUARTER, -QUARTER, np.pi), "z"),
    ((0, 0, 0), (-QUARTER, 0, np.pi), "z"),
    ((0, -0.1975, 0), (-QUARTER, 0, -np.pi), "z"),
    ((0, 0, 0), (-QUARTER, 0, 0), "z"),
    ((0, -0.1805, 0), (QUARTER, 0, 0), "z"),
    ((0, 0, 0), (0, 0, -QUARTER), ""),
    ((0, 0, 0.14308), (0, 0, -QUARTER), ""),
]


def g1(q: Array) -> Array:
    pose, values = np.eye(4), iter(q)
    for xyz, rpy, moves in G1:
        pose = pose @ shift(*xyz) @ fixed_axes(*rpy)
        if moves == "lift":
            pose = pose @ shift(0, 0, next(values))
        elif moves == "z":
            pose = pose @ turn("z", next(values))
    return pose


def hand(flange: Array) -> Array:
    """Tool centre of the Franka Hand: an eighth turn back, 0.1034 m on (franka_description, franka_hand.xacro)."""
    return flange @ shift(0, 0, 0.107) @ turn("z", -np.pi / 4) @ shift(0, 0, 0.1034)


# Profile: a link, and the maker's kinematics of it.
GOLDEN: dict[str, tuple[str, Callable[[Array], Array]]] = {
    "franka_fr3": ("fr3_hand_tcp", lambda q: hand(chain(modified, FR3, q))),
    # UR's table counts from `base`, half a turn from the ROS frame `base_link`; its last frame is `tool0`.
    "ur5e": ("tool0", lambda q: turn("z", np.pi) @ chain(standard, UR5E, q)),
    "xarm7": ("link_eef", lambda q: chain(modified, XARM7, q)),
    "agibot_g1_geniesim": ("gripper_r_center_link", g1),
}


def joints_of(robot: str) -> tuple[str, ...]:
    joints = load_profile(robot).joints
    return ("idx01_body_joint1", "idx02_body_joint2", *joints) if robot.startswith("agibot") else joints


def matrix(pose: LinkPose) -> Array:
    x, y, z, w = pose.quaternion
    result = np.eye(4)
    result[:3, :3] = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ]
    result[:3, 3] = pose.translation
    return result


@pytest.mark.parametrize("robot", GOLDEN)
def test_every_pose_is_the_one_of_the_makers_table(robot: str) -> None:
    link, golden = GOLDEN[robot]
    names = joints_of(robot)
    body, rng = Body(load_profile(robot).urdf_path, {}), np.random.default_rng(0)
    for _ in range(50):
        q = rng.uniform(-1.5, 1.5, len(names))
        pose = body.pose(link, dict(zip(names, q, strict=True)))
        np.testing.assert_allclose(matrix(pose), golden(q), atol=TOLERANCE)


@pytest.mark.parametrize(
    ("robot", "link", "position"),
    [
        # Up the column and the arm, 88 mm out at the wrist, and the flange 107 mm down again.
        ("franka_fr3", "fr3_link8", (0.088, 0.0, 0.333 + 0.316 + 0.384 - 0.107)),
        # Stretched out along the bench: both arm links; the wrist aside by its two widths and down by the third.
        ("ur5e", "tool0", (0.425 + 0.3922, 0.1333 + 0.0996, 0.1625 - 0.0997)),
        # Up, 0.0525 m out, and the forearm down again.
        ("xarm7", "link_eef", (0.0525 + 0.0775 + 0.076, 0.0, 0.267 + 0.293 - 0.3425 - 0.097)),
    ],
)
def test_at_zero_a_pose_is_a_sum_of_link_lengths(
    robot: str, link: str, position: tuple[float, float, float]
) -> None:
    pose = Body(load_profile(robot).urdf_path, {}).pose(link, {})
    np.testing.assert_allclose(pose.translation, position, atol=TOLERANCE)
