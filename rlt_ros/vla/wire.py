"""msgpack with arrays, as openpi's client and server frame them, and plain msgpack. Nothing is ever unpickled.

An array is a map of ``__ndarray__``, ``data``, ``dtype`` and ``shape``, a NumPy number one of ``__npgeneric__``,
``data`` and ``dtype`` (openpi's `msgpack_numpy`); the keys are bytes. Only numbers and truth values are taken from
the network: an object array would be a pickle.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

_KINDS = "biuf"
"""Kinds of NumPy types that may travel: truth values, whole numbers, floating point."""
_MOST_ITEMS = 2**20  # of a list or map; observations and chunks have some thousands


class WireError(ValueError):
    """A message that is no msgpack, or holds what may not travel."""


def pack(message: Any) -> bytes:
    """Bytes of a message of maps, lists, numbers, text and arrays."""
    import msgpack

    packed: bytes = msgpack.packb(message, default=_packed)
    return packed


def unpack(data: bytes | str, *, limit: int) -> Any:
    """The message that :func:`pack`, or openpi's own code, made.

    Args:
        data: what came; text is refused.
        limit: largest message in bytes.

    Raises:
        WireError: it is too large, cut off, no msgpack, or holds anything but plain values and arrays of numbers.
    """
    import msgpack

    if isinstance(data, str):
        raise WireError(f"it is text where bytes are expected: {data[:200]!r}")
    if len(data) > limit:
        raise WireError(f"it has {len(data)} bytes; at most {limit} are taken")
    try:
        return msgpack.unpackb(
            data,
            object_hook=_unpacked,
            ext_hook=_no_extension,
            strict_map_key=False,
            max_array_len=_MOST_ITEMS,
            max_map_len=_MOST_ITEMS,
        )
    except WireError:
        raise
    except (ValueError, TypeError, msgpack.UnpackException, RecursionError) as error:
        raise WireError(f"it is no msgpack, or is cut off ({error or type(error).__name__})") from error


def _packed(value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic):
        if value.dtype.kind not in _KINDS:
            raise WireError(f"an array of type {value.dtype} cannot travel; only numbers can")
        if isinstance(value, np.ndarray):
            return {
                b"__ndarray__": True,
                b"data": value.tobytes(),
                b"dtype": value.dtype.str,
                b"shape": value.shape,
            }
        return {b"__npgeneric__": True, b"data": value.item(), b"dtype": value.dtype.str}
    raise WireError(f"a {type(value).__name__} cannot travel")


def _unpacked(value: dict[Any, Any]) -> Any:
    # The client of openpi sends bytes as keys; some ports of it send text.
    fields = {
        key.decode("utf-8", "replace") if isinstance(key, bytes) else key: item for key, item in value.items()
    }
    if "__ndarray__" in fields:
        return array(fields.get("data"), fields.get("dtype"), fields.get("shape"))
    if "__npgeneric__" in fields:
        return number_type(fields.get("dtype")).type(fields.get("data"))
    return value


def array(data: Any, dtype: Any, shape: Any) -> np.ndarray:
    """An array of what a message says of it. Raises `WireError` when bytes, type and shape do not fit."""
    kind = number_type(dtype)
    if not isinstance(shape, list | tuple) or not all(
        isinstance(size, int) and not isinstance(size, bool) and size >= 0 for size in shape
    ):
        raise WireError(f"an array's shape is {shape!r}; it must be whole numbers")
    if not isinstance(data, bytes) or len(data) != math.prod(shape) * kind.itemsize:
        have = f"{len(data)} bytes" if isinstance(data, bytes) else type(data).__name__
        raise WireError(f"an array of {kind} {tuple(shape)} has {have} of data; it is damaged")
    return np.frombuffer(data, kind).reshape(shape)


def number_type(dtype: Any) -> np.dtype:
    """A NumPy type of numbers. Raises `WireError` for any other, above all for objects, which are pickles."""
    if isinstance(dtype, bytes):
        dtype = dtype.decode("ascii", "replace")
    try:
        kind = np.dtype(dtype) if isinstance(dtype, str) else None
    except (TypeError, ValueError):
        kind = None
    if kind is None or kind.kind not in _KINDS:
        raise WireError(f"an array's type is {dtype!r}; only numbers are taken, nothing is unpickled")
    return kind


def _no_extension(code: int, data: bytes) -> Any:
    raise WireError(f"it holds msgpack extension {code}; none is taken")
