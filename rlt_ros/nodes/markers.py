"""Chunks and what became of them, as lines in space for RViz and Foxglove."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rlt_ros.middleware.messages import ColorRGBA, Duration, Header, Marker, MarkerArray, Point
from rlt_ros.rlt.stream import ActionChunk
from rlt_ros.rlt.transition import Source

Array = NDArray[Any]

COLOURS: Mapping[Source, tuple[int, int, int]] = {
    Source.HOLD: (150, 150, 150),
    Source.VLA: (66, 133, 244),
    Source.ACTOR: (245, 124, 0),
    Source.HUMAN: (52, 168, 83),
}
"""Who acts → red, green, blue, in every view."""

_REFERENCE = (0.75, 0.75, 0.75, 0.6)
_WIDTH = 0.005  # m; 2 mm are a pixel or two where the whole arm is in the view
_LIFETIME = 1  # s; a chunk that nothing follows disappears


class ChunkMarkers:
    """Makes the markers of one arm.

    Args:
        tip: position (3,) m of the tool in the base frame at joint positions (A,) rad.
        frame_id: of the base.
        trail: executed steps that stay visible.
    """

    def __init__(self, tip: Callable[[Array], Array], *, frame_id: str, trail: int) -> None:
        self._tip, self._frame_id, self._trail = tip, frame_id, trail
        self._points: list[Array] = []
        self._colours: list[tuple[float, float, float, float]] = []

    def chunk(self, chunk: ActionChunk, stamp: Any) -> Any:
        """``MarkerArray`` of a chunk: the VLA's proposal in grey, what was chosen in the colour of who chose it."""
        colour = _rgba(chunk.source)
        lines = {"reference": (chunk.reference, _REFERENCE), "chosen": (chunk.action, colour)}
        return MarkerArray(
            markers=[
                self._line(name, stamp, self._path(chunk, actions), [shade] * (1 + len(actions)), _LIFETIME)
                for name, (actions, shade) in lines.items()
            ]
        )

    def executed(self, command: Array, source: Source) -> None:
        """Add an executed step to the trail: joint targets (A,) rad, and who chose them."""
        self._points.append(self._tip(command))
        self._colours.append(_rgba(source))
        del self._points[: -self._trail], self._colours[: -self._trail]

    def trail(self, stamp: Any) -> Any:
        """``MarkerArray`` of the executed path."""
        return MarkerArray(markers=[self._line("executed", stamp, self._points, self._colours, 0)])

    def clear(self) -> None:
        """Forget the trail: another episode begins."""
        self._points.clear()
        self._colours.clear()

    def _path(self, chunk: ActionChunk, actions: Array) -> list[Array]:
        targets = chunk.anchor + chunk.scale * actions
        return [self._tip(np.asarray(q, dtype=np.float64)) for q in (chunk.anchor, *targets)]

    def _line(
        self,
        name: str,
        stamp: Any,
        points: list[Array],
        colours: list[tuple[float, float, float, float]],
        lifetime: int,
    ) -> Any:
        marker = Marker(
            header=Header(stamp=stamp, frame_id=self._frame_id),
            ns=name,
            type=Marker.LINE_STRIP,
            # A strip of one point is an error to RViz.
            action=Marker.ADD if len(points) > 1 else Marker.DELETE,
            points=[Point(x=float(x), y=float(y), z=float(z)) for x, y, z in points],
            colors=[ColorRGBA(r=r, g=g, b=b, a=a) for r, g, b, a in colours],
            lifetime=Duration(sec=lifetime),
        )
        marker.scale.x = _WIDTH
        return marker


def _rgba(source: Source) -> tuple[float, float, float, float]:
    red, green, blue = COLOURS[source]
    return red / 255, green / 255, blue / 255, 1.0
