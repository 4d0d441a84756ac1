"""Tables of LeRobot data sets: columns of one episode as arrays, each row group of a Parquet file decoded once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rlt_ros.data.errors import EpisodeError

MAX_ROWS = 1_000_000
"""Of one episode: nine hours at 30 Hz."""
_EPISODE = "episode_index"


@dataclass(frozen=True)
class Columns:
    """Columns to be read from a table.

    Attributes:
        widths: number column → elements of its vectors.
        vectors: columns of vectors, including those of one element.
        pictures: columns of encoded images.
    """

    widths: Mapping[str, int]
    vectors: frozenset[str]
    pictures: Sequence[str]


class Tables:
    """Reader that keeps the row groups of the last file, since neighbouring episodes share them."""

    def __init__(self) -> None:
        self._key: tuple[Any, ...] = ()
        self._file: Any = None
        self._groups: dict[int, Any] = {}

    def read(
        self, path: Path, columns: Columns, length: int, *, episode: int | None = None
    ) -> dict[str, NDArray[Any]]:
        """Read the columns of one episode: vectors (T, N), single values (T,), images as (T,) bytes objects.

        Args:
            path: a Parquet file.
            columns: columns to be read.
            length: rows of the episode by the description of the data set.
            episode: index of the episode in a file with several.

        Raises:
            EpisodeError: an unreadable file, an absent column, or another length.
        """
        import pyarrow as pa

        if not 0 < length <= MAX_ROWS:
            raise EpisodeError(f"has {length} rows")
        names = [*columns.widths, *columns.pictures, *([] if episode is None else [_EPISODE])]
        try:
            self._open(path, names)
            absent = sorted(set(names) - set(self._file.schema_arrow.names))
            if absent:
                raise EpisodeError(f"lacks the columns {', '.join(absent)}", path.name)
            if episode is None and self._file.metadata.num_rows != length:
                raise _other_length(path, self._file.metadata.num_rows, length)
            table = self._rows(names, episode)
        except (pa.ArrowException, OSError) as error:
            detail = f"{path.name}: {str(error)[:80]}"
            raise EpisodeError("has a table that cannot be read", detail) from error
        if table.num_rows != length:
            raise _other_length(path, table.num_rows, length)
        rows: dict[str, NDArray[Any]] = {}
        for key, width in columns.widths.items():
            rows[key] = _vectors(table[key], key, length, width, flat=key not in columns.vectors)
        for key in columns.pictures:
            rows[key] = np.array([_picture_bytes(value.as_py()) for value in table[key]], dtype=object)
        return rows

    def _open(self, path: Path, names: Sequence[str]) -> None:
        import pyarrow.parquet as pq

        status = path.stat()
        key = (path, status.st_ino, status.st_size, status.st_mtime_ns, tuple(names))
        if key != self._key:
            self._key, self._groups = (), {}
            self._file = pq.ParquetFile(path)
            self._key = key

    def _rows(self, names: Sequence[str], episode: int | None) -> Any:
        import pyarrow as pa

        wanted = [
            group
            for group in range(self._file.metadata.num_row_groups)
            if episode is None or self._may_hold(group, episode)
        ]
        self._groups = {group: table for group, table in self._groups.items() if group in wanted}
        for group in wanted:
            if group not in self._groups:
                self._groups[group] = self._file.read_row_group(group, columns=list(names))
        parts = [self._groups[group] for group in wanted]
        if episode is not None:
            parts = [_of_episode(part, episode) for part in parts]
        return pa.concat_tables(parts) if parts else self._file.schema_arrow.empty_table()

    def _may_hold(self, group: int, episode: int) -> bool:
        """False if the statistics of a row group exclude an episode; writers may omit them."""
        described = self._file.metadata.row_group(group)
        columns = [described.column(index) for index in range(described.num_columns)]
        stats = next((column.statistics for column in columns if column.path_in_schema == _EPISODE), None)
        return stats is None or not stats.has_min_max or bool(stats.min <= episode <= stats.max)


def _of_episode(table: Any, episode: int) -> Any:
    indices = table[_EPISODE].to_numpy()
    places = np.flatnonzero(indices == episode)
    if len(places) and places[-1] - places[0] + 1 == len(places):
        return table.slice(int(places[0]), len(places))
    return table.take(places)


def _other_length(path: Path, rows: int, length: int) -> EpisodeError:
    reason = "has another number of rows than its data set describes"
    return EpisodeError(reason, f"{path.name}: {rows}, not {length}")


def _vectors(column: Any, key: str, length: int, width: int, *, flat: bool) -> NDArray[Any]:
    """(T, N) of a column of lists, or of numbers (N = 1); (T,) if ``flat``."""
    import pyarrow as pa

    array = column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)
    if isinstance(array, pa.ChunkedArray):
        array = pa.concat_arrays(array.chunks)
    lists = (
        pa.types.is_list(array.type)
        or pa.types.is_large_list(array.type)
        or pa.types.is_fixed_size_list(array.type)
    )
    if array.null_count:
        raise EpisodeError(f"has rows without {key}")
    values = array.flatten() if lists else array
    numeric = (
        pa.types.is_floating(values.type)
        or pa.types.is_integer(values.type)
        or pa.types.is_boolean(values.type)
    )
    if not numeric or values.null_count:
        raise EpisodeError(f"has values in {key} that are no numbers")
    if len(values) != length * width:
        raise EpisodeError(f"has vectors of another length in {key}")
    if lists and not pa.types.is_fixed_size_list(array.type):
        lengths = np.diff(array.offsets.to_numpy(zero_copy_only=False))
        if not (lengths == width).all():
            raise EpisodeError(f"has vectors of another length in {key}")
    numbers = values.to_numpy(zero_copy_only=False)
    return numbers.reshape(-1) if flat else numbers.reshape(length, width)


def _picture_bytes(value: Any) -> bytes:
    data = value.get("bytes") if isinstance(value, Mapping) else value
    if not isinstance(data, bytes):
        raise EpisodeError("has a picture that is not in its table")
    return data
