"""NumPy arrays in messages, which hold numbers as flat ``array.array`` without their shape."""

from __future__ import annotations

import array
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

_CODES = {"float32": "f", "float64": "d", "uint8": "B", "int32": "i", "uint32": "I"}


def pack(values: NDArray[Any]) -> array.array[Any]:
    """Flatten ``values`` row by row, for a field of their type: float32, float64, uint8, int32 or uint32.

    Raises:
        TypeError: the array is of another type.
    """
    code = _CODES.get(values.dtype.name)
    if code is None:
        raise TypeError(
            f"an array of {values.dtype} fits no message field; convert it to one of {', '.join(_CODES)}"
        )
    packed = array.array(code)
    packed.frombytes(values.tobytes())
    return packed


def unpack(field: array.array[Any], shape: tuple[int, ...], *, name: str) -> NDArray[Any]:
    """Copy a field to a writable array of ``shape``; ``name`` names it in errors.

    Raises:
        ValueError: the field has another number of values.
    """
    if len(field) != math.prod(shape):
        raise ValueError(f"`{name}` holds {len(field)} values, expected {math.prod(shape)} for shape {shape}")
    return np.array(field).reshape(shape)
