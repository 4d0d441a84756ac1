"""HDF5 files from anywhere: arrays of expected shapes, and nothing that leads into other files."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rlt_ros.data.errors import EpisodeError

_MAX_VALUES = 1 << 28  # of one array; joints of nine hours at 30 Hz are 14 million


class Arrays:
    """Arrays of an open file by path."""

    def __init__(self, group: Any) -> None:
        self._group = group

    def names(self) -> list[str]:
        """Names in the top group."""
        return list(self._group)

    def find(self, path: str) -> NDArray[Any] | None:
        """The array at a path, None where there is none.

        Raises:
            EpisodeError: it is no plain array of numbers, is too large, or lies in another file.
        """
        import h5py

        item = self._group
        for name in path.split("/"):
            link = item.get(name, getlink=True) if isinstance(item, h5py.Group) else None
            if link is None:
                return None
            if not isinstance(link, h5py.HardLink):
                raise EpisodeError(f"has a link at {path} that leads elsewhere")
            item = item[name]
        if not isinstance(item, h5py.Dataset) or item.dtype.kind not in "fiu":
            raise EpisodeError(f"has no numbers at {path}")
        if item.external is not None or item.is_virtual:
            raise EpisodeError(f"has values at {path} that lie in another file")
        if item.size > _MAX_VALUES:
            raise EpisodeError(f"has {item.size} values at {path}")
        return np.asarray(item[()])

    def take(self, path: str) -> NDArray[Any]:
        """The array at a path. Raises `EpisodeError` where there is none."""
        array = self.find(path)
        if array is None:
            raise EpisodeError(f"lacks {path}")
        return array


@contextmanager
def open_arrays(path: Path) -> Iterator[Arrays]:
    """Arrays of a file while it is open.

    Raises:
        EpisodeError: it is no HDF5 file, or is cut off.
    """
    import h5py

    try:
        with h5py.File(path, "r") as file:
            yield Arrays(file)
    except (OSError, RuntimeError, KeyError) as error:
        raise EpisodeError(f"has a joint file that cannot be read ({str(error)[:80]})") from error
