"""URDF as a model of Pinocchio, with one number per joint."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pinocchio as pin

from rlt_ros.robots.turns import UNLIMITED
from rlt_ros.robots.urdf_joints import KinematicsError, read_tree

# Pinocchio does not always distinguish a link from a joint of the same name; such a link's frame gets this suffix.
_LINK_SUFFIX = " (link)"


def read_urdf(path: Path) -> pin.Model:
    """Model of a URDF file, with one position, rad or m, per joint.

    Raises:
        KinematicsError: the URDF cannot be read or is incomplete.
    """
    tree = read_tree(path)
    for joint in tree.findall("joint"):
        if joint.get("type") == "continuous":
            _bound(joint)
    _rename_ambiguous_links(tree)
    try:
        return pin.buildModelFromXML(ElementTree.tostring(tree, encoding="unicode"))
    except (ValueError, RuntimeError) as error:
        raise KinematicsError(f"{path} is an incomplete URDF: {error}") from error


def find_link(model: pin.Model, link: str) -> int:
    """Frame of a link.

    Raises:
        KinematicsError: there is no such link.
    """
    for name in (link, link + _LINK_SUFFIX):
        if model.existFrame(name, pin.FrameType.BODY):
            return int(model.getFrameId(name, pin.FrameType.BODY))
    links = [link_name(frame.name) for frame in model.frames if frame.type == pin.FrameType.BODY]
    raise KinematicsError(f"no link named {link}; the URDF has {', '.join(links)}")


def link_name(frame: str) -> str:
    """Link of a frame."""
    return frame.removesuffix(_LINK_SUFFIX)


def _rename_ambiguous_links(tree: ElementTree.Element) -> None:
    joints = {joint.get("name") for joint in tree.findall("joint")}
    for link in tree.findall("link"):
        name = link.get("name", "")
        if name in joints:
            link.set("name", name + _LINK_SUFFIX)
            for end in (*tree.findall("joint/parent"), *tree.findall("joint/child")):
                if end.get("link") == name:
                    end.set("link", name + _LINK_SUFFIX)


def _bound(joint: ElementTree.Element) -> None:
    """Make a continuous joint revolute: Pinocchio would represent it as cosine and sine, drivers as an angle."""
    joint.set("type", "revolute")
    limit = joint.find("limit")
    if limit is None:
        limit = ElementTree.SubElement(joint, "limit", effort="0", velocity="0")
    limit.set("lower", str(-UNLIMITED))
    limit.set("upper", str(UNLIMITED))
