"""Untrusted HDF5 files: arrays of numbers, without links into other files.

Raw episodes have a group per frame with a dozen arrays of a few bytes each, so arrays are opened through the low-level
interface, which is ten times as fast as walking the groups.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rlt_ros.data.errors import EpisodeError

MAX_VALUES = 1 << 24
"""Values of one array; 14 joints of nine hours at 30 Hz have as many."""


class Arrays:
    """Arrays of an open file by path."""

    def __init__(self, file: Any) -> None:
        """Raise `EpisodeError` if a link in the file leads elsewhere."""
        import h5py

        self._file = file.id
        self._top = list(file)

        def foreign(name: bytes, info: Any) -> str | None:
            return None if info.type == h5py.h5l.TYPE_HARD else name.decode(errors="replace")

        # `links` does not keep its group open.
        root = h5py.h5g.open(self._file, b"/")
        # Ends at the first foreign link.
        leads_elsewhere = root.links.visit(foreign, info=True)
        if leads_elsewhere is not None:
            raise EpisodeError(f"has a link at {leads_elsewhere} that leads elsewhere")

    def names(self) -> list[str]:
        """Names in the top group."""
        return self._top

    def find(self, path: str) -> NDArray[Any] | None:
        """Array at a path, as int64 or float64; None if absent.

        Raises:
            EpisodeError: no plain array of numbers, too large, or stored in another file.
        """
        from h5py import h5d, h5s, h5t

        try:
            dataset = h5d.open(self._file, path.encode())
        except KeyError:
            return None
        except (TypeError, ValueError) as error:
            raise EpisodeError(f"has no array at {path}") from error
        made = dataset.get_create_plist()
        if made.get_external_count() or made.get_layout() == h5d.VIRTUAL:
            raise EpisodeError(f"has values at {path} that are stored in another file")
        # `dataset.dtype` and `dataset.shape` would take as long as everything else.
        kind, space = dataset.get_type().get_class(), dataset.get_space()
        if kind not in (h5t.INTEGER, h5t.FLOAT) or space.get_simple_extent_type() == h5s.NULL:
            raise EpisodeError(f"has no numbers at {path}")
        shape = space.get_simple_extent_dims()
        if math.prod(shape) > MAX_VALUES:
            raise EpisodeError(f"has more than {MAX_VALUES} values at {path}")
        whole = kind == h5t.INTEGER
        array = np.empty(shape, np.int64 if whole else np.float64)
        dataset.read(h5s.ALL, h5s.ALL, array, h5t.NATIVE_INT64 if whole else h5t.NATIVE_DOUBLE)
        return array

    def take(self, path: str) -> NDArray[Any]:
        """Array at a path. Raises `EpisodeError` if absent."""
        array = self.find(path)
        if array is None:
            raise EpisodeError(f"lacks {path}")
        return array


@contextmanager
def open_arrays(path: Path) -> Iterator[Arrays]:
    """Open a file's arrays.

    Raises:
        EpisodeError: the file is no HDF5 file, or truncated.
    """
    import h5py

    try:
        with h5py.File(path, "r") as file:
            yield Arrays(file)
    except (OSError, RuntimeError, KeyError) as error:
        raise EpisodeError(f"has a joint file that cannot be read ({str(error)[:80]})") from error
