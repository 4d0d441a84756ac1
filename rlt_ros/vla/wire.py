"""msgpack with arrays in openpi's framing, and plain msgpack. Nothing is ever unpickled.

An array is a map of ``__ndarray__``, ``data``, ``dtype`` and ``shape``, a NumPy number one of ``__npgeneric__``,
``data`` and ``dtype`` (openpi's `msgpack_numpy`); the keys are bytes. Only numbers and booleans are accepted from the
network: an object array would be a pickle.
"""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np

from rlt_ros.vla.wire_scan import ScanError, scan

_KINDS = "biuf"
"""Permitted kinds of NumPy types: booleans, integers, floating point."""
_TYPES = re.compile(r"[<>=|]?(b1|\?|[iu][1248]|f[248])|bool|u?int(8|16|32|64)|float(16|32|64)")
"""Names of these types. NumPy's own parser of names is unsafe here: it evaluates `(,)f4` as Python."""
MAX_DIMENSIONS = 8
"""Of an array; a batch of images of several cameras has 5."""
MAX_SIDE = 2**31
"""Of an array; applies to empty arrays too, whose other sides cost no bytes."""


class WireError(ValueError):
    """Message that is no msgpack, or holds forbidden values."""


def pack(message: Any) -> bytes:
    """Encode a message of maps, lists, numbers, text and arrays."""
    import msgpack

    packed: bytes = msgpack.packb(message, default=_encode)
    return packed


def unpack(data: bytes | str, *, limit: int) -> Any:
    """Decode a message of :func:`pack` or of openpi's own code.

    Args:
        data: received message; text is refused.
        limit: largest message in bytes.

    Raises:
        WireError: too large, truncated, no msgpack, or anything but plain values and arrays of numbers.
    """
    import msgpack

    if isinstance(data, str):
        raise WireError(f"it is text where bytes are expected: {data[:200]!r}")
    if len(data) > limit:
        raise WireError(f"it has {len(data)} bytes; at most {limit} are taken")
    try:
        scan(data)
        return msgpack.unpackb(data, object_hook=_decode, strict_map_key=False)
    except WireError:
        raise
    except ScanError as error:
        raise WireError(str(error)) from None
    except (ValueError, TypeError, OverflowError, msgpack.UnpackException) as error:
        raise WireError(f"it is no msgpack, or is cut off ({error or type(error).__name__})") from error


def _encode(value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic):
        if value.dtype.kind not in _KINDS:
            raise WireError(f"an array of type {value.dtype} cannot be sent; only numbers can")
        if isinstance(value, np.ndarray):
            return {
                b"__ndarray__": True,
                b"data": value.tobytes(),
                b"dtype": value.dtype.str,
                b"shape": value.shape,
            }
        return {b"__npgeneric__": True, b"data": value.item(), b"dtype": value.dtype.str}
    raise WireError(f"a {type(value).__name__} cannot be sent")


def _decode(value: dict[Any, Any]) -> Any:
    # openpi's client sends keys as bytes; some ports of it send text.
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
        # An overflow becomes infinite, and every reader refuses that.
        with np.errstate(over="ignore"):
            return kind.type(data)
    except (OverflowError, ValueError) as error:
        raise WireError(f"a number of type {kind} is {data}; it does not fit") from error


def array(data: Any, dtype: Any, shape: Any) -> np.ndarray:
    """Array from a message's fields. Raises `WireError` if bytes, type and shape do not fit."""
    kind = number_type(dtype)
    if not isinstance(shape, list | tuple) or len(shape) > MAX_DIMENSIONS:
        raise WireError(
            f"an array's shape is {str(shape)[:80]}; it must be up to {MAX_DIMENSIONS} whole numbers"
        )
    if not all(
        isinstance(size, int) and not isinstance(size, bool) and 0 <= size < MAX_SIDE for size in shape
    ):
        raise WireError(f"an array's shape is {str(shape)[:80]}; it must be whole numbers from 0 to 2**31")
    if not isinstance(data, bytes) or len(data) != math.prod(shape) * kind.itemsize:
        have = f"{len(data)} bytes" if isinstance(data, bytes) else type(data).__name__
        raise WireError(f"an array of {kind} {tuple(shape)} has {have} of data; it is damaged")
    return np.frombuffer(data, kind).reshape(shape)


def number_type(dtype: Any) -> np.dtype:
    """NumPy type of numbers. Raises `WireError` for any other, above all for objects, which are pickles."""
    if isinstance(dtype, bytes):
        dtype = dtype.decode("ascii", "replace")
    if not isinstance(dtype, str) or not _TYPES.fullmatch(dtype):
        raise WireError(
            f"an array's type is {str(dtype)[:40]!r}; only numbers are taken, nothing is unpickled"
        )
    return np.dtype(dtype)
