"""Antialiased camera images of a MuJoCo scene, without a display."""

from __future__ import annotations

import os
from collections.abc import Sequence

import mujoco
import numpy as np
from numpy.typing import NDArray

from rlt_ros.sim.opengl import OpenGLMissing

# Rendered at twice the size and averaged: the grey levels then show an edge's sub-pixel position. Multisampling would
# too, at five times the cost on a software renderer.
_OVERSAMPLING = 2

# Distance m, azimuth and elevation in degrees: from the robot's front left, with the arms of all simulated robots in
# view, none in front of the fixture, and close enough to show contacts of millimetres.
_ARM_VIEW, _CLOSE_VIEW = (0.65, 150.0, -20.0), (0.20, 150.0, -25.0)
# m, centre of the wide view above the fixture.
_ARM_LIFT = np.array([0.0, 0.0, 0.08])
# Factor by which the close-up is smaller than the image.
_INSET = 3
# Width in pixels and brightness of the line around it.
_FRAME, _FRAME_GREY = 3, 235


class CameraRig:
    """The robot's cameras and a spectator's camera, on one OpenGL context.

    Args:
        model: model of the workcell.
        cameras: names of the robot's cameras.
        size: side of the square images, pixels.
    """

    def __init__(self, model: mujoco.MjModel, cameras: Sequence[str], size: int) -> None:
        if "MUJOCO_GL" not in os.environ:
            raise OpenGLMissing(
                "no drawing backend was chosen before MuJoCo was imported; call rlt_ros.sim.opengl.ensure_opengl() "
                "first, or set MUJOCO_GL=egl"
            )
        self._model, self._cameras = model, tuple(cameras)
        self._size = size
        self._renderer = mujoco.Renderer(model, size * _OVERSAMPLING, size * _OVERSAMPLING)
        self._spectator: mujoco.Renderer | None = None

    def render(self, data: mujoco.MjData) -> dict[str, NDArray[np.uint8]]:
        """Camera name → (size, size, 3) uint8 RGB."""
        return {name: self._render(data, name) for name in self._cameras}

    def spectate(
        self, data: mujoco.MjData, target: NDArray[np.float64], width: int, height: int
    ) -> NDArray[np.uint8]:
        """View (height, width, 3) of arm and fixture from the front, with a close-up of `target`, m, in a corner."""
        if self._spectator is None:
            self._spectator = mujoco.Renderer(self._model, height, width)
        picture = self._view(data, target + _ARM_LIFT, _ARM_VIEW)
        close = self._view(data, target, _CLOSE_VIEW)[::_INSET, ::_INSET]
        rows, columns = close.shape[:2]
        picture[: rows + _FRAME, -columns - _FRAME :] = _FRAME_GREY
        picture[:rows, -columns:] = close
        return picture

    def _view(
        self, data: mujoco.MjData, target: NDArray[np.float64], view: tuple[float, float, float]
    ) -> NDArray[np.uint8]:
        assert self._spectator is not None
        camera = mujoco.MjvCamera()
        camera.lookat[:] = target
        camera.distance, camera.azimuth, camera.elevation = view
        self._spectator.update_scene(data, camera=camera)
        return np.array(self._spectator.render())

    def close(self) -> None:
        """Free the OpenGL contexts."""
        self._renderer.close()
        if self._spectator is not None:
            self._spectator.close()

    def _render(self, data: mujoco.MjData, camera: str) -> NDArray[np.uint8]:
        self._renderer.update_scene(data, camera=camera)
        fine = self._renderer.render().astype(np.uint16)
        pairs = fine[0::2, 0::2] + fine[1::2, 0::2] + fine[0::2, 1::2] + fine[1::2, 1::2]
        return ((pairs + 2) // 4).astype(np.uint8)
