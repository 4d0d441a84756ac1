"""Vectors of numbers as peers send them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rlt_ros.rlt.ranges import LARGEST, out_of_range
from rlt_ros.serving.errors import RequestError

_LONGEST = 1024  # numbers; a humanoid with both hands has some 60


def read_vector(value: Any, name: str, size: int | None = None) -> NDArray[np.float64]:
    """Read a vector (N,) of numbers within `rlt_ros.rlt.ranges.LARGEST`, from an array or a list.

    Raises:
        RequestError: it is anything else, or N is not ``size``; text is not read as numbers.
    """
    try:
        vector = np.asarray(value)
    except (TypeError, ValueError, OverflowError):
        vector = np.empty(0)
    wanted = (
        f"`{name}` must be {f'1 to {_LONGEST}' if size is None else size} finite numbers within ±{LARGEST:g}"
    )
    if vector.dtype.kind not in "iuf" or vector.ndim != 1 or not 1 <= len(vector) <= _LONGEST:
        raise RequestError(f"{wanted}, got {str(value)[:80]}")
    if size is not None and len(vector) != size:
        raise RequestError(f"{wanted}, got {len(vector)}")
    wrong = out_of_range(vector)
    if wrong:
        raise RequestError(f"{wanted}; it holds {wrong}")
    return vector.astype(np.float64)
