"""Pictures as peers send them, as RGB of the size that the VLA takes."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rlt_ros.perception.pictures import resize
from rlt_ros.serving.errors import RequestError

Pixels = NDArray[np.uint8]

_MOST_PIXELS = 40_000_000
"""Of one picture. The largest camera in use has 2 million; a small file can claim billions."""

_REDUCED = 2
"""Least size of a picture decoded smaller than it is, as a multiple of the one wanted. With 1 some pixels are 25 levels
off at sharp edges, for the decoder's own scaling is no mean over an area."""


def from_jpeg(data: Any, size: tuple[int, int], *, name: str) -> Pixels:
    """RGB (h, w, 3) of a JPEG, resized to ``size``.

    A picture far larger than needed is decoded at a half, quarter or eighth of its size, which costs less; of what is
    resized each side is still twice as long as wanted, or the whole one. So no pixel is more than 6 levels, and none on
    average more than 1, from what `rlt_ros.perception.pictures.resize` makes of the whole picture.

    Raises:
        RequestError: it is no JPEG, cut off, or too large.
    """
    from PIL import Image, UnidentifiedImageError

    if not isinstance(data, bytes):
        raise RequestError(f"picture `{name}` is {type(data).__name__}; expected the bytes of a JPEG")
    try:
        with Image.open(io.BytesIO(data), formats=("JPEG",)) as picture:
            if picture.width * picture.height > _MOST_PIXELS:
                raise RequestError(f"picture `{name}` claims {picture.width}×{picture.height} pixels")
            picture.draft("RGB", (_REDUCED * size[1], _REDUCED * size[0]))
            # The same weights as in `resize`, within one level; and other threads run meanwhile.
            fitted = picture.convert("RGB").resize((size[1], size[0]), Image.Resampling.BILINEAR)
    except Image.DecompressionBombError as error:
        raise RequestError(f"picture `{name}` claims far too many pixels: {error}") from error
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError) as error:
        if isinstance(error, RequestError):
            raise
        raise RequestError(f"picture `{name}` is no JPEG that can be read: {error}") from error
    return np.array(fitted)


def from_array(value: Any, size: tuple[int, int], *, name: str) -> Pixels:
    """RGB (h, w, 3) of an array (h, w, 3) or (3, h, w), uint8 or floating point from 0 to 1, resized to ``size``.

    Raises:
        RequestError: it is of another shape or type.
    """
    try:
        pixels = np.asarray(value)
    except ValueError as error:
        raise RequestError(f"picture `{name}` is no array: {error}") from error
    if pixels.ndim == 4 and len(pixels) == 1:
        pixels = pixels[0]
    if pixels.ndim == 3 and pixels.shape[2] != 3 and pixels.shape[0] == 3:
        pixels = pixels.transpose(1, 2, 0)
    if pixels.ndim != 3 or pixels.shape[2] != 3 or not pixels.size or pixels.size > 3 * _MOST_PIXELS:
        raise RequestError(f"picture `{name}` has shape {pixels.shape}; expected (h, w, 3) or (3, h, w)")
    if pixels.dtype.kind == "f":
        if not np.isfinite(pixels).all() or pixels.min() < 0 or pixels.max() > 1:
            raise RequestError(f"picture `{name}` is floating point beyond 0 to 1; send uint8")
        pixels = np.round(pixels * 255)
    elif pixels.dtype != np.uint8:
        raise RequestError(f"picture `{name}` is {pixels.dtype}; expected uint8")
    return resize(np.ascontiguousarray(pixels, dtype=np.uint8), *size)
