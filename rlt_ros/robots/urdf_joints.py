"""Types and limits of the joints in a URDF, read without a kinematics library."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


class KinematicsError(ValueError):
    """Unreadable URDF, unknown joint or link, or unreachable pose."""


@dataclass(frozen=True)
class JointLimits:
    """One joint of a URDF.

    Attributes:
        kind: `revolute`, `continuous`, `prismatic`, `fixed`, `planar` or `floating`.
        lower: rad or m; minus infinity without a limit.
        upper: rad or m; infinity without a limit.
        velocity: rad/s or m/s; 0 without a limit.
    """

    kind: str
    lower: float
    upper: float
    velocity: float


def read_tree(path: Path) -> ElementTree.Element:
    """Root element of a URDF.

    Raises:
        KinematicsError: the file cannot be read, or is no URDF.
    """
    if path.suffix == ".xacro":
        raise KinematicsError(f"{path} is a xacro file; convert it first: xacro {path.name} -o robot.urdf")
    try:
        tree = ElementTree.fromstring(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, ElementTree.ParseError) as error:
        raise KinematicsError(f"{path} cannot be read as a URDF: {error}") from error
    if tree.tag != "robot":
        raise KinematicsError(f"{path} is not a URDF: the root element is `{tree.tag}`, not `robot`")
    return tree


def read_joints(path: Path) -> Mapping[str, JointLimits]:
    """Joint → type and limits.

    Raises:
        KinematicsError: the file cannot be read, or a limit is no number.
    """
    joints = {}
    for joint in read_tree(path).findall("joint"):
        limit, kind = joint.find("limit"), joint.get("type", "")
        endless = kind == "continuous" or limit is None
        try:
            joints[joint.get("name", "")] = JointLimits(
                kind,
                -math.inf if endless or limit is None else float(limit.get("lower", "0")),
                math.inf if endless or limit is None else float(limit.get("upper", "0")),
                0.0 if limit is None else float(limit.get("velocity", "0")),
            )
        except ValueError as error:
            raise KinematicsError(f"{path}: limits of joint {joint.get('name')}: {error}") from error
    return joints
