"""Pictures as drivers send them, as (h, w, 3) RGB of the size that the VLA takes."""

from __future__ import annotations

from functools import lru_cache

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


class PictureError(ValueError):
    """A picture that cannot be read; the message says what is wrong with it."""


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
    if height < 1 or width < 1:
        raise PictureError(f"it is {width}×{height} pixels large")
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
    tall = np.tensordot(_weights(picture.shape[0], height), picture.astype(np.float32), axes=(1, 0))
    both = np.einsum("wx,hxc->hwc", _weights(picture.shape[1], width), tall, optimize=True)
    return np.clip(both + 0.5, 0, 255).astype(np.uint8)


@lru_cache(maxsize=16)
def _weights(size: int, wanted: int) -> NDArray[np.float32]:
    """What each of ``size`` pixels counts in each of the ``wanted``: (wanted, size), rows sum to 1."""
    scale = size / wanted
    reach = max(scale, 1.0)  # half the width of the triangle
    centres = (np.arange(wanted) + 0.5) * scale - 0.5
    distance = np.abs(np.arange(size)[None, :] - centres[:, None]) / reach
    triangle = np.clip(1.0 - distance, 0.0, None)
    return (triangle / triangle.sum(axis=1, keepdims=True)).astype(np.float32)
