"""Paths of chunks and of executed steps in space, each with a sphere at its end, for RViz and Foxglove."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rlt_ros.middleware.messages import ColorRGBA, Duration, Header, Marker, MarkerArray, Point
from rlt_ros.replay.stream import ActionChunk
from rlt_ros.rlt.transition import Source

Array = NDArray[Any]
_Colour = tuple[float, float, float, float]
"""Red, green, blue and opacity, each from 0 to 1."""

COLOURS: Mapping[Source, tuple[int, int, int]] = {
    Source.HOLD: (150, 150, 150),
    Source.VLA: (66, 133, 244),
    Source.ACTOR: (245, 124, 0),
    Source.HUMAN: (52, 168, 83),
}
"""Source of a command → red, green, blue, in every view."""

_REFERENCE = (0.75, 0.75, 0.75, 0.6)
_LINE_WIDTH = 0.005
"""m; 2 mm would be a pixel or two in a view of the whole arm."""
_SPHERE_DIAMETER = 0.012
"""m, at the end of a path; visible on a line of 5 mm."""
_CHUNK_LIFETIME = 1
"""s after which a chunk without a successor disappears."""


class ChunkMarkers:
    """Markers of one arm.

    Args:
        tip: position (3,) m of the tool in the base frame at joint positions (A,) rad.
        frame_id: frame of the base.
        trail: executed steps that stay visible.
    """

    def __init__(self, tip: Callable[[Array], Array], *, frame_id: str, trail: int) -> None:
        self._tip, self._frame_id, self._trail = tip, frame_id, trail
        self._points: list[Array] = []
        self._colours: list[_Colour] = []

    def chunk(self, chunk: ActionChunk, stamp: Any) -> Any:
        """``MarkerArray`` of a chunk: the reference in grey, the chosen actions in the colour of their source."""
        colour = _rgba(chunk.source)
        lines = {"reference": (chunk.reference, _REFERENCE), "chosen": (chunk.action, colour)}
        return MarkerArray(
            markers=[
                marker
                for name, (actions, shade) in lines.items()
                for marker in self._markers(
                    name, stamp, self._path(chunk, actions), [shade] * (1 + len(actions)), _CHUNK_LIFETIME
                )
            ]
        )

    def executed(self, command: Array, source: Source) -> None:
        """Add an executed step to the trail: joint targets (A,) rad and their source."""
        self._points.append(self._tip(command))
        self._colours.append(_rgba(source))
        del self._points[: -self._trail], self._colours[: -self._trail]

    def trail(self, stamp: Any) -> Any:
        """``MarkerArray`` of the executed path."""
        return MarkerArray(markers=self._markers("executed", stamp, self._points, self._colours, 0))

    def clear(self) -> None:
        """Clear the trail at the start of an episode."""
        self._points.clear()
        self._colours.clear()

    def _path(self, chunk: ActionChunk, actions: Array) -> list[Array]:
        targets = chunk.anchor + chunk.scale * actions
        return [self._tip(np.asarray(q, dtype=np.float64)) for q in (chunk.anchor, *targets)]

    def _markers(
        self,
        name: str,
        stamp: Any,
        points: list[Array],
        colours: list[_Colour],
        lifetime: int,
    ) -> list[Any]:
        """Line and end sphere of a path, in the namespace ``name``; both are deleted without a path."""
        # RViz reports a strip of one point as an error.
        action = Marker.ADD if len(points) > 1 else Marker.DELETE
        common = {"ns": name, "action": action, "lifetime": Duration(sec=lifetime)}
        header = Header(stamp=stamp, frame_id=self._frame_id)
        line = Marker(header=header, id=0, type=Marker.LINE_STRIP, **common)
        line.points = [_point(point) for point in points]
        line.colors = [_colour(colour) for colour in colours]
        line.scale.x = _LINE_WIDTH
        end = Marker(header=header, id=1, type=Marker.SPHERE, **common)
        end.scale.x = end.scale.y = end.scale.z = _SPHERE_DIAMETER
        if points:
            end.pose.position, end.color = _point(points[-1]), _colour(colours[-1])
        return [line, end]


def _point(position: Array) -> Any:
    x, y, z = position
    return Point(x=float(x), y=float(y), z=float(z))


def _colour(rgba: _Colour) -> Any:
    r, g, b, a = rgba
    return ColorRGBA(r=r, g=g, b=b, a=a)


def _rgba(source: Source) -> _Colour:
    red, green, blue = COLOURS[source]
    return red / 255, green / 255, blue / 255, 1.0
