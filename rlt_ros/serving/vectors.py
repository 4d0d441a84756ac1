"""Number vectors in requests."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rlt_ros.rlt.ranges import LARGEST, out_of_range
from rlt_ros.serving.errors import RequestError

MAX_VECTOR_LENGTH = 1024
"""Numbers; a humanoid with both hands has some 60."""


def read_vector(value: Any, name: str, size: int | None = None) -> NDArray[np.float64]:
    """Read a vector (N,) of numbers within `rlt_ros.rlt.ranges.LARGEST`, from an array or a list.

    Raises:
        RequestError: anything else, including text, or N is not ``size``.
    """
    try:
        vector = np.asarray(value)
    except (TypeError, ValueError, OverflowError):
        vector = np.empty(0)
    limit = f"1 to {MAX_VECTOR_LENGTH}" if size is None else size
    expected = f"`{name}` must be {limit} finite numbers within ±{LARGEST:g}"
    if vector.dtype.kind not in "iuf" or vector.ndim != 1 or not 1 <= len(vector) <= MAX_VECTOR_LENGTH:
        raise RequestError(f"{expected}, got {str(value)[:80]}")
    if size is not None and len(vector) != size:
        raise RequestError(f"{expected}, got {len(vector)}")
    wrong = out_of_range(vector)
    if wrong:
        raise RequestError(f"{expected}; it holds {wrong}")
    return vector.astype(np.float64)
