"""Conversion of drivers' pictures to (h, w, 3) RGB of the VLA's size."""

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
"""Encoding → bytes of a pixel, and positions of red, green and blue among them."""

ENCODINGS = tuple(_CHANNELS)
"""Supported encodings of `sensor_msgs/Image`."""


MAX_PIXELS = 2**23
"""Largest number of pixels: a 4K camera has 8.3 million, and a small file can claim billions. Decoding that many takes
up to 100 MB."""
MAX_SIDE = 8192
"""Largest side, pixels. Resizing a picture of 1 × 7,000,000 would take gigabytes, as a side is scaled row by row."""


class PictureError(ValueError):
    """Unreadable picture; the message names the fault."""


def check_size(height: int, width: int) -> None:
    """Raise `PictureError` unless the picture has pixels, at most `MAX_SIDE` per side and `MAX_PIXELS` in all."""
    if height < 1 or width < 1:
        raise PictureError(f"it is {width}×{height} pixels large")
    if max(height, width) > MAX_SIDE or height * width > MAX_PIXELS:
        raise PictureError(
            f"it has {width}×{height} pixels; the limits are {MAX_SIDE} per side and {MAX_PIXELS} in all"
        )


def decode(data: bytes | memoryview | Pixels, *, height: int, width: int, step: int, encoding: str) -> Pixels:
    """Convert raw pixels to RGB (height, width, 3).

    Args:
        data: the rows, one after the other.
        height: rows.
        width: pixels in a row.
        step: bytes from one row to the next, including padding.
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
    """Convert an RGB picture (h, w, 3) to raw pixels (h, w, bytes of a pixel); alpha is opaque, grey is the mean."""
    size, order = _CHANNELS[encoding]
    if size == 1:
        return np.asarray(rgb.mean(axis=2, keepdims=True), np.uint8)
    pixels = np.full((*rgb.shape[:2], size), 255, np.uint8)
    pixels[:, :, order] = rgb
    return pixels


def resize(picture: Pixels, height: int, width: int) -> Pixels:
    """Resize a picture (h, w, 3) without aliasing: bilinear, over the area of each new pixel.

    The sides are scaled independently, because VLAs are trained on pictures that fill their square.
    """
    if picture.shape[:2] == (height, width):
        return picture
    both = _scaled(_scaled(picture, height, axis=0), width, axis=1)
    return np.clip(both + 0.5, 0, 255).astype(np.uint8)


def _scaled(values: NDArray[Any], wanted: int, *, axis: int) -> NDArray[np.float32]:
    """Scale values (h, w, 3) to ``wanted`` rows (axis 0) or columns (axis 1).

    A sum over taps instead of a matrix product: most weights are 0, and for a product of this size BLAS uses a thread
    per core, which on a busy machine wait for each other for tens of milliseconds.
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
    """Source indices (n, wanted) among ``size`` pixels and weights (n, wanted), whose columns sum to 1."""
    scale = size / wanted
    # Half the width of the triangle.
    reach = max(scale, 1.0)
    centres = (np.arange(wanted) + 0.5) * scale - 0.5
    first = np.ceil(centres - reach)
    places = first + np.arange(int(2 * reach) + 1)[:, None]
    triangle = np.clip(1.0 - np.abs(places - centres) / reach, 0.0, None)
    # Outside the picture.
    triangle[(places < 0) | (places >= size)] = 0.0
    weights = (triangle / triangle.sum(axis=0)).astype(np.float32)
    return np.clip(places, 0, size - 1).astype(np.intp), weights
