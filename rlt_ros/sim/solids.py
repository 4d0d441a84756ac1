"""MuJoCo geoms of plugs, sockets and tables."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import mujoco
import numpy as np

RGBA = Sequence[float]

# Collision groups: parts of the tool collide with parts of the world, and nothing else collides.
TOOL, WORLD = 1, 2

# Contact of hard plastic and metal: stiff (time constant 4 ms), critically damped, dry friction 0.25.
_CONTACT = {
    "solref": [0.004, 1.0],
    "solimp": [0.95, 0.99, 0.0005, 0.5, 2.0],
    "friction": [0.25, 0.005, 0.0001],
}


def box(
    body: mujoco.MjsBody, low: Sequence[float], high: Sequence[float], rgba: RGBA, group: int, name: str = ""
) -> None:
    """Axis-aligned box between the corners `low` and `high` (m, body frame); group 0 has no contact."""
    corners = np.array([low, high], dtype=float)
    _add(
        body,
        mujoco.mjtGeom.mjGEOM_BOX,
        (corners[1] - corners[0]) / 2,
        corners.mean(axis=0),
        rgba,
        group,
        name,
    )


def pin(
    body: mujoco.MjsBody, x: float, y: float, bottom: float, top: float, radius: float, rgba: RGBA, group: int
) -> None:
    """Round pin along z from `bottom` to `top` (m) with hemispherical ends inside that length."""
    half = (top - bottom) / 2 - radius
    position = [x, y, (bottom + top) / 2]
    _add(body, mujoco.mjtGeom.mjGEOM_CAPSULE, [radius, half, 0], position, rgba, group)


def cylinder(
    body: mujoco.MjsBody, x: float, y: float, bottom: float, top: float, radius: float, rgba: RGBA, group: int
) -> None:
    """Cylinder along z from `bottom` to `top` (m)."""
    position = [x, y, (bottom + top) / 2]
    _add(body, mujoco.mjtGeom.mjGEOM_CYLINDER, [radius, (top - bottom) / 2, 0], position, rgba, group)


def plate_with_holes(
    body: mujoco.MjsBody,
    half_size: tuple[float, float],
    holes: Sequence[tuple[float, float, float, float]],
    depth: float,
    rgba: RGBA,
    name: str = "",
) -> None:
    """Plate with its face at z = 0, `depth` thick, with rectangular through holes.

    Args:
        half_size: half extents of the face in x and y, metres.
        holes: (x centre, y centre, half x, half y) of each, without overlap.

    The solid part is divided into boxes on the grid of the holes' edges.
    """
    xs = sorted({-half_size[0], half_size[0], *(x + s * w for x, _, w, _ in holes for s in (-1, 1))})
    ys = sorted({-half_size[1], half_size[1], *(y + s * h for _, y, _, h in holes for s in (-1, 1))})
    for y_low, y_high in pairwise(ys):
        run: list[float] = []
        for x_low, x_high in pairwise(xs):
            centre_x, centre_y = (x_low + x_high) / 2, (y_low + y_high) / 2
            hollow = any(abs(centre_x - x) < w and abs(centre_y - y) < h for x, y, w, h in holes)
            if hollow:
                _flush(body, run, y_low, y_high, depth, rgba, name)
                run = []
            else:
                run = [run[0] if run else x_low, x_high]
        _flush(body, run, y_low, y_high, depth, rgba, name)


def _flush(
    body: mujoco.MjsBody, run: list[float], y_low: float, y_high: float, depth: float, rgba: RGBA, name: str
) -> None:
    if run:
        box(body, (run[0], y_low, -depth), (run[1], y_high, 0.0), rgba, WORLD, name)


def _add(
    body: mujoco.MjsBody,
    shape: mujoco.mjtGeom,
    size: Sequence[float],
    position: Sequence[float],
    rgba: RGBA,
    group: int,
    name: str = "",
) -> None:
    geom = body.add_geom(type=shape, size=list(size), pos=list(position), rgba=list(rgba), mass=0.0005)
    # `name` marks a colour family for randomisation; the geom's number makes it unique, as MuJoCo requires.
    if name:
        geom.name = f"{name}/{len(body.geoms)}"
    geom.contype = TOOL if group == TOOL else 0
    geom.conaffinity = WORLD if group == TOOL else 0
    if group == WORLD:
        geom.contype, geom.conaffinity = WORLD, TOOL
    if group:
        geom.solref, geom.solimp = _CONTACT["solref"], _CONTACT["solimp"]
        geom.friction, geom.condim = _CONTACT["friction"], 4
