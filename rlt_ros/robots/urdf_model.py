"""A robot's URDF as a model of Pinocchio, with every joint as one number."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pinocchio as pin

_ENDLESS = 1e3
"""rad; limit of a joint that turns without end. Pinocchio would make it a cosine and a sine, drivers tell an angle."""


class KinematicsError(ValueError):
    """A URDF that cannot be read, a joint or link that it lacks, or a pose that no joint position reaches."""


def read_urdf(path: Path) -> pin.Model:
    """The model in a URDF file; its joints' positions are rad or m, one each.

    Raises:
        KinematicsError: it is no URDF, or is not complete.
    """
    if path.suffix == ".xacro":
        raise KinematicsError(
            f"{path} is a xacro file; make a URDF of it first: xacro {path.name} -o robot.urdf"
        )
    try:
        tree = ElementTree.fromstring(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, ElementTree.ParseError) as error:
        raise KinematicsError(f"{path} cannot be read as a URDF: {error}") from error
    if tree.tag != "robot":
        raise KinematicsError(f"{path} is no URDF: its root element is `{tree.tag}`, not `robot`")
    for joint in tree.iter("joint"):
        if joint.get("type") == "continuous":
            _limit(joint)
    try:
        return pin.buildModelFromXML(ElementTree.tostring(tree, encoding="unicode"))
    except (ValueError, RuntimeError) as error:
        raise KinematicsError(f"{path} is no complete URDF: {error}") from error


def _limit(joint: ElementTree.Element) -> None:
    joint.set("type", "revolute")
    limit = joint.find("limit")
    if limit is None:
        limit = ElementTree.SubElement(joint, "limit", effort="0", velocity="0")
    limit.set("lower", str(-_ENDLESS))
    limit.set("upper", str(_ENDLESS))
