"""Images in requests, converted to RGB of the VLA's size."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rlt_ros.perception.compressed import decode_file
from rlt_ros.perception.pictures import PictureError, check_size, resize
from rlt_ros.serving.errors import RequestError

Pixels = NDArray[np.uint8]


def from_file(data: Any, size: tuple[int, int], *, name: str) -> Pixels:
    """Decode a JPEG or PNG file to RGB (h, w, 3) of ``size``; see `rlt_ros.perception.compressed.decode_file`.

    Raises:
        RequestError: another format, truncated, or too large.
    """
    if not isinstance(data, bytes):
        raise RequestError(f"picture `{name}` is {type(data).__name__}; expected the bytes of a JPEG")
    try:
        return decode_file(data, size)
    except PictureError as error:
        raise RequestError(f"picture `{name}` cannot be read: {error}") from error


def from_array(value: Any, size: tuple[int, int], *, name: str) -> Pixels:
    """Convert an array (h, w, 3) or (3, h, w), uint8 or floating point from 0 to 1, to RGB (h, w, 3) of ``size``.

    Raises:
        RequestError: another shape or type.
    """
    pixels = _array(value, name)
    if pixels.ndim == 4 and len(pixels) == 1:
        pixels = pixels[0]
    if pixels.ndim == 3 and pixels.shape[2] != 3 and pixels.shape[0] == 3:
        pixels = pixels.transpose(1, 2, 0)
    if pixels.ndim != 3 or pixels.shape[2] != 3 or not pixels.size:
        raise RequestError(f"picture `{name}` has shape {pixels.shape}; expected (h, w, 3) or (3, h, w)")
    try:
        check_size(*pixels.shape[:2])
    except PictureError as error:
        raise RequestError(f"picture `{name}` cannot be read: {error}") from error
    if pixels.dtype.kind == "f":
        if not np.isfinite(pixels).all() or pixels.min() < 0 or pixels.max() > 1:
            raise RequestError(f"picture `{name}` is floating point beyond 0 to 1; send uint8")
        pixels = pixels * pixels.dtype.type(255)
        np.round(pixels, out=pixels)
    elif pixels.dtype != np.uint8:
        raise RequestError(f"picture `{name}` is {pixels.dtype}; expected uint8")
    return resize(np.ascontiguousarray(pixels, dtype=np.uint8), *size)


def _array(value: Any, name: str) -> NDArray[Any]:
    try:
        return np.asarray(value)
    except (ValueError, OverflowError) as error:
        raise RequestError(f"picture `{name}` is no array: {error}") from error
