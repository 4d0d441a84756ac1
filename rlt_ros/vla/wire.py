"""msgpack with arrays, as openpi's client and server frame them, and plain msgpack. Nothing is ever unpickled.

An array is a map of ``__ndarray__``, ``data``, ``dtype`` and ``shape``, a NumPy number one of ``__npgeneric__``,
``data`` and ``dtype`` (openpi's `msgpack_numpy`); the keys are bytes. Only numbers and truth values are taken from
the network: an object array would be a pickle.
"""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np

from rlt_ros.vla.wire_scan import ScanError, scan

_KINDS = "biuf"
"""Kinds of NumPy types that may travel: truth values, whole numbers, floating point."""
_TYPES = re.compile(r"[<>=|]?(b1|\?|[iu][1248]|f[248])|bool|u?int(8|16|32|64)|float(16|32|64)")
"""Names of these types. NumPy's own parser of names is not for the network: it evaluates `(,)f4` as Python."""
_MOST_DIMENSIONS = 8  # of an array; a batch of pictures of several cameras has 5
_LONGEST_SIDE = 2**31  # of an array; bounded for empty arrays too, whose other sides cost no bytes


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
        scan(data)
        return msgpack.unpackb(data, object_hook=_unpacked, strict_map_key=False)
    except WireError:
        raise
    except ScanError as error:
        raise WireError(str(error)) from None
    except (ValueError, TypeError, OverflowError, msgpack.UnpackException) as error:
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
        return _number(fields.get("data"), fields.get("dtype"))
    return value


def _number(data: Any, dtype: Any) -> Any:
    kind = number_type(dtype)
    if not isinstance(data, int | float):
        raise WireError(f"a number of type {kind} is a {type(data).__name__}; it is damaged")
    try:
        with np.errstate(over="ignore"):  # too large a number becomes infinite, which every reader refuses
            return kind.type(data)
    except (OverflowError, ValueError) as error:
        raise WireError(f"a number of type {kind} is {data}; it does not fit") from error


def array(data: Any, dtype: Any, shape: Any) -> np.ndarray:
    """An array of what a message says of it. Raises `WireError` when bytes, type and shape do not fit."""
    kind = number_type(dtype)
    if not isinstance(shape, list | tuple) or len(shape) > _MOST_DIMENSIONS:
        raise WireError(
            f"an array's shape is {str(shape)[:80]}; it must be up to {_MOST_DIMENSIONS} whole numbers"
        )
    if not all(
        isinstance(size, int) and not isinstance(size, bool) and 0 <= size < _LONGEST_SIDE for size in shape
    ):
        raise WireError(f"an array's shape is {str(shape)[:80]}; it must be whole numbers from 0 to 2**31")
    if not isinstance(data, bytes) or len(data) != math.prod(shape) * kind.itemsize:
        have = f"{len(data)} bytes" if isinstance(data, bytes) else type(data).__name__
        raise WireError(f"an array of {kind} {tuple(shape)} has {have} of data; it is damaged")
    return np.frombuffer(data, kind).reshape(shape)


def number_type(dtype: Any) -> np.dtype:
    """A NumPy type of numbers. Raises `WireError` for any other, above all for objects, which are pickles."""
    if isinstance(dtype, bytes):
        dtype = dtype.decode("ascii", "replace")
    if not isinstance(dtype, str) or not _TYPES.fullmatch(dtype):
        raise WireError(
            f"an array's type is {str(dtype)[:40]!r}; only numbers are taken, nothing is unpickled"
        )
    return np.dtype(dtype)
