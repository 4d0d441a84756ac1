"""MuJoCo specification of a robot's URDF, as drivers publish it.

A URDF with a `<mujoco>` element was prepared for MuJoCo and is loaded unchanged. Any other is adapted: fixed links
stay separate, collision shapes and meshes are removed (`package://` cannot be resolved without ROS, and only tool and
fixture make contact), and a link without another shape is drawn as a rod to each of its joints.
"""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path

import mujoco
import numpy as np

# m.
_ROD_RADIUS = 0.025
_MIN_ROD_LENGTH = 0.02
# kg and kg·m²; MuJoCo requires them of a moving link, and URDFs omit them for frames and small links.
_MIN_MASS = 1e-3
_MIN_INERTIA = 1e-6
_GREY = (0.72, 0.73, 0.75, 1.0)


def load_spec(urdf: Path) -> mujoco.MjSpec:
    """MuJoCo specification of the robot in ``urdf``, not compiled.

    Raises:
        ValueError: MuJoCo cannot read the URDF; the message names the file.
    """
    root = ElementTree.parse(urdf).getroot()
    try:
        if root.find("mujoco") is not None:
            return mujoco.MjSpec.from_file(str(urdf))
        bare = _strip_shapes(root)
        spec = mujoco.MjSpec.from_string(ElementTree.tostring(root, encoding="unicode"))
    except ValueError as error:
        raise ValueError(f"{urdf}: MuJoCo cannot load it: {error}") from error
    spec.compiler.boundmass, spec.compiler.boundinertia = _MIN_MASS, _MIN_INERTIA
    _draw_rods(spec, bare)
    return spec


def _strip_shapes(root: ElementTree.Element) -> set[str]:
    """Prepare a URDF for MuJoCo in place; return the links that lost all shapes."""
    element = ElementTree.SubElement(root, "mujoco")
    ElementTree.SubElement(element, "compiler", discardvisual="false", fusestatic="false")
    bare = set()
    for link in root.findall("link"):
        shapes = [*link.findall("collision"), *link.findall("visual")]
        for shape in shapes:
            if shape.tag == "collision" or shape.find("geometry/mesh") is not None:
                link.remove(shape)
        if shapes and link.find("visual") is None:
            bare.add(str(link.get("name")))
    return bare


def _draw_rods(spec: mujoco.MjSpec, bare: set[str]) -> None:
    for body in spec.bodies:
        if body.parent is None or body.parent.name not in bare:
            continue
        end = np.asarray(body.pos, dtype=np.float64)
        if np.linalg.norm(end) < _MIN_ROD_LENGTH:
            continue
        body.parent.add_geom(
            type=mujoco.mjtGeom.mjGEOM_CAPSULE,
            fromto=[0.0, 0.0, 0.0, *end],
            size=[_ROD_RADIUS, 0.0, 0.0],
            rgba=_GREY,
            mass=0.0,
            contype=0,
            conaffinity=0,
        )
