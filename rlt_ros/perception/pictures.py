"""Pictures as drivers send them, as (h, w, 3) RGB of the size that the VLA takes."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]

_CHANNELS: dict[str, tuple[int, list[int]]] = {
    "rgb8": (3, [0, 1, 2]),
    "bgr8": (3, [2, 1, 0]),
    "rgba8": (4, [0, 1, 2]),
    "bgra8": (4, [2, 1, 0]),
    "mono8": (1, [0, 0, 0]),
}
"""Encoding → bytes of a pixel, and which of them are red, green and blue."""

ENCODINGS = tuple(_CHANNELS)
"""Encodings of `sensor_msgs/Image` that can be read."""


MOST_PIXELS = 2**23
"""Of one picture: that of a 4K camera has 8.3 million, and a small file can claim billions. Decoding one takes up to
100 MB."""
MOST_SIDE = 8192
"""Pixels of a side. A picture of 1 × 7,000,000 costs gigabytes to resize, for its side is scaled row by row."""


class PictureError(ValueError):
    """A picture that cannot be read; the message says what is wrong with it."""


def check_size(height: int, width: int) -> None:
    """Raise `PictureError` unless the picture has pixels, at most `MOST_SIDE` a side and `MOST_PIXELS` in all."""
    if height < 1 or width < 1:
        raise PictureError(f"it is {width}×{height} pixels large")
    if max(height, width) > MOST_SIDE or height * width > MOST_PIXELS:
        raise PictureError(
            f"it claims {width}×{height} pixels; at most {MOST_SIDE} a side and {MOST_PIXELS} in all are read"
        )


def decode(data: bytes | memoryview | Pixels, *, height: int, width: int, step: int, encoding: str) -> Pixels:
    """RGB (height, width, 3) of raw pixels.

    Args:
        data: the rows, one after the other.
        height: rows.
        width: pixels in a row.
        step: bytes from one row to the next; what is beyond the pixels is padding.
        encoding: one of `ENCODINGS`.

    Raises:
        PictureError: another encoding, no pixels, or another number of bytes.
    """
    if encoding not in _CHANNELS:
        raise PictureError(f"encoding is `{encoding}`; it must be one of {', '.join(ENCODINGS)}")
    size, order = _CHANNELS[encoding]
    check_size(height, width)
    if step < width * size or len(data) != height * step:
        raise PictureError(
            f"it holds {len(data)} bytes in rows of {step}; {width}×{height} pixels of {encoding}: "
            f"expected {height} rows of at least {width * size}"
        )
    rows = np.frombuffer(data, np.uint8).reshape(height, step)[:, : width * size]
    return np.ascontiguousarray(rows.reshape(height, width, size)[:, :, order])


def encode(rgb: Pixels, encoding: str) -> Pixels:
    """Pixels (h, w, bytes of a pixel) of an RGB picture (h, w, 3), as a driver would send them; what else there is of a
    pixel is opaque, and a grey one is the mean."""
    size, order = _CHANNELS[encoding]
    if size == 1:
        return np.asarray(rgb.mean(axis=2, keepdims=True), np.uint8)
    pixels = np.full((*rgb.shape[:2], size), 255, np.uint8)
    pixels[:, :, order] = rgb
    return pixels


def resize(picture: Pixels, height: int, width: int) -> Pixels:
    """The picture (h, w, 3) at another size, without aliasing: bilinear, over the area that becomes one pixel.

    The sides are scaled independently, as VLAs are trained on pictures that fill their square.
    """
    if picture.shape[:2] == (height, width):
        return picture
    both = _scaled(_scaled(picture, height, axis=0), width, axis=1)
    return np.clip(both + 0.5, 0, 255).astype(np.uint8)


def _scaled(values: NDArray[Any], wanted: int, *, axis: int) -> NDArray[np.float32]:
    """Values (h, w, 3) with ``wanted`` rows (axis 0) or columns (axis 1).

    Tap by tap, not as a matrix product: most weights are 0, and for a product this large BLAS wakes a thread on every
    core, which on a busy machine wait for each other for tens of milliseconds.
    """
    places, weights = _taps(values.shape[axis], wanted)
    total: NDArray[np.float32] | None = None
    for place, weight in zip(places, weights, strict=True):
        part = np.take(values, place, axis=axis) * np.expand_dims(weight, (1 - axis, 2))
        total = part if total is None else np.add(total, part, out=total)
    assert total is not None
    return total


@lru_cache(maxsize=32)
def _taps(size: int, wanted: int) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    """Which of ``size`` pixels count in each of the ``wanted`` ones, and how much: (n, wanted) both; columns of the
    weights sum to 1."""
    scale = size / wanted
    reach = max(scale, 1.0)  # half the width of the triangle
    centres = (np.arange(wanted) + 0.5) * scale - 0.5
    first = np.ceil(centres - reach)
    places = first + np.arange(int(2 * reach) + 1)[:, None]
    triangle = np.clip(1.0 - np.abs(places - centres) / reach, 0.0, None)
    triangle[(places < 0) | (places >= size)] = 0.0  # no pixel is there
    weights = (triangle / triangle.sum(axis=0)).astype(np.float32)
    return np.clip(places, 0, size - 1).astype(np.intp), weights
