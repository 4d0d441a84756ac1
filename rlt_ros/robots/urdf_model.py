"""A robot's URDF as a model of Pinocchio, with every joint as one number."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pinocchio as pin

from rlt_ros.robots.urdf_joints import KinematicsError, read_tree

_ENDLESS = 1e3
"""rad; limit of a joint that turns without end. Pinocchio would make it a cosine and a sine, drivers tell an angle."""


_LINK = " (link)"
"""Pinocchio does not always tell a link from a joint of the same name; such a link's frame gets this at its end."""


def read_urdf(path: Path) -> pin.Model:
    """The model in a URDF file; its joints' positions are rad or m, one each.

    Raises:
        KinematicsError: it is no URDF, or is not complete.
    """
    tree = read_tree(path)
    for joint in tree.findall("joint"):
        if joint.get("type") == "continuous":
            _limit(joint)
    _tell_apart(tree)
    try:
        return pin.buildModelFromXML(ElementTree.tostring(tree, encoding="unicode"))
    except (ValueError, RuntimeError) as error:
        raise KinematicsError(f"{path} is no complete URDF: {error}") from error


def find_link(model: pin.Model, link: str) -> int:
    """Frame of a link.

    Raises:
        KinematicsError: there is no such link.
    """
    for name in (link, link + _LINK):
        if model.existFrame(name, pin.FrameType.BODY):
            return int(model.getFrameId(name, pin.FrameType.BODY))
    links = [link_name(frame.name) for frame in model.frames if frame.type == pin.FrameType.BODY]
    raise KinematicsError(f"no link named {link}; there are {', '.join(links)}")


def link_name(frame: str) -> str:
    """The link that a frame belongs to."""
    return frame.removesuffix(_LINK)


def _tell_apart(tree: ElementTree.Element) -> None:
    joints = {joint.get("name") for joint in tree.findall("joint")}
    for link in tree.findall("link"):
        name = link.get("name", "")
        if name in joints:
            link.set("name", name + _LINK)
            for end in (*tree.findall("joint/parent"), *tree.findall("joint/child")):
                if end.get("link") == name:
                    end.set("link", name + _LINK)


def _limit(joint: ElementTree.Element) -> None:
    joint.set("type", "revolute")
    limit = joint.find("limit")
    if limit is None:
        limit = ElementTree.SubElement(joint, "limit", effort="0", velocity="0")
    limit.set("lower", str(-_ENDLESS))
    limit.set("upper", str(_ENDLESS))
