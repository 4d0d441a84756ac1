"""The replay's file: what lies where, how it is created, and how a file that does not fit is refused.

One file of fixed size, so that a full disk shows when it is created and never again:

    page 0   magic, version, checksum and a JSON header (sizes, types, lineage)
    page 1   counters: committed rows, rows known to be on the disk, boot id of the writer
    then     records (one small struct a row), actions, token table, table of the states' other parts

States lie in tables of their own because each is in two windows, as state and as next state one chunk
earlier: storing it once halves the file.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import logging
import math
import os
import shutil
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rlt_ros.rlt.config import Shapes
from rlt_ros.rlt.documents import parse_json
from rlt_ros.rlt.lineage import Lineage
from rlt_ros.rlt.storage import StorageError

logger = logging.getLogger(__name__)

PAGE = 4096
SPARE = 64
"""Row slots beyond the capacity. The writer publishes at the latest when it has filled them, so it never
writes over a row that counts as stored, and a reader has that much time until a row that it reads is gone."""
SHARE = 256
"""A row refers to states written up to this many states ago: a chunk of stride-1 windows of 20 robots."""

_MAGIC = b"RLTRING\n"
_VERSION = 1
_PREFIX = struct.Struct("<8sIII")  # magic, version, length and CRC-32 of the JSON header
_Z_TYPES = {"float16": torch.float16, "bfloat16": torch.bfloat16, "float32": torch.float32}


class ReplayError(StorageError):
    """The replay cannot do what was asked. The message names the file, what is wrong and the remedy."""


class ReplayFormatError(ReplayError):
    """The file is foreign, truncated, or of other sizes than asked for."""


class ReplayFullError(ReplayError):
    """The file system has no room for the file."""


class ReplayLockedError(ReplayError):
    """Another writer has the file open."""


@dataclasses.dataclass(frozen=True)
class ReplayFormat:
    """Everything that decides the file's layout and what its rows mean.

    Attributes:
        shapes: sizes of states and actions.
        capacity: rows kept; older ones are overwritten.
        z_storage: type of the stored tokens, ``float16``, ``bfloat16`` or ``float32``.
        gamma: discount per control step that rewards and discounts were summed with.
        lineage: frozen parts that made the rows.
    """

    shapes: Shapes
    capacity: int
    z_storage: str
    gamma: float
    lineage: Lineage

    def __post_init__(self) -> None:
        if self.capacity < 1:
            raise ReplayError(f"replay capacity is {self.capacity}; give at least 1 row")
        if self.z_storage not in _Z_TYPES:
            raise ReplayError(f"`z_storage` is `{self.z_storage}`; choose one of {', '.join(_Z_TYPES)}")

    @property
    def z_dtype(self) -> torch.dtype:
        """Type of the token table."""
        return _Z_TYPES[self.z_storage]

    @property
    def row_slots(self) -> int:
        """Rows in the file, see :data:`SPARE`."""
        return self.capacity + SPARE

    @property
    def live_states(self) -> int:
        """A row lives until so many states follow it: one a row, and one more for 8 (an episode's last)."""
        return self.capacity + self.capacity // 8 + 2

    @property
    def state_slots(self) -> int:
        """States in the file: those of living rows, those they share, and two for each row being written."""
        return self.live_states + SHARE + 2 * SPARE + 2

    @functools.cached_property
    def record(self) -> np.dtype[Any]:
        """The small struct of a row. Widest fields first, padded to 8 bytes: no hidden gaps."""
        fields: list[tuple[Any, ...]] = [
            ("row", "<i8"),  # number of the row since the file was created
            ("episode", "<i8"),
            ("step", "<i8"),
            ("state", "<i8"),  # numbers of its states, counted like rows
            ("next_state", "<i8"),
            ("states_end", "<i8"),  # states written when this row was complete
            ("tail", "<i8"),  # oldest living row when this row was complete
            ("lineage", "<u8"),
            ("reward", "<f4"),
            ("discount", "<f4"),
            ("crc", "<u4"),
            ("valid", "<i2"),
            ("next_valid", "<i2"),
            ("terminated", "?"),
            ("truncated", "?"),
            ("outcome", "u1"),
            ("source", "u1", (self.shapes.chunk,)),
        ]
        return np.dtype([*fields, ("pad", "u1", (-np.dtype(fields).itemsize % 8,))])

    @functools.cached_property
    def regions(self) -> dict[str, tuple[int, np.dtype[Any], tuple[int, ...]]]:
        """Name to (offset, type, shape); tokens are bytes here because NumPy has no bfloat16."""
        shapes, numbers = self.shapes, np.dtype("<f4")
        action = shapes.chunk * shapes.action_dim
        parts: list[tuple[str, np.dtype[Any], tuple[int, ...]]] = [
            ("records", self.record, (self.row_slots,)),
            ("action", numbers, (self.row_slots, action)),
            ("z", np.dtype("u1"), (self.state_slots, shapes.z_dim * self.z_dtype.itemsize)),
            ("rest", numbers, (self.state_slots, shapes.proprio_dim + action)),
        ]
        result, offset = {}, 2 * PAGE
        for name, dtype, shape in parts:
            result[name] = (offset, dtype, shape)
            offset += math.ceil(math.prod(shape) * dtype.itemsize / PAGE) * PAGE
        return result

    @property
    def nbytes(self) -> int:
        """Size of the file."""
        offset, dtype, shape = self.regions["rest"]
        return offset + math.ceil(math.prod(shape) * dtype.itemsize / PAGE) * PAGE

    @property
    def row_bytes(self) -> int:
        """Bytes that one more row of capacity costs."""
        more = dataclasses.replace(self, capacity=self.capacity + 8 * PAGE)
        return round((more.nbytes - self.nbytes) / (8 * PAGE))

    def header(self) -> bytes:
        """The first page."""
        text = json.dumps(dataclasses.asdict(self)).encode()
        return _PREFIX.pack(_MAGIC, _VERSION, len(text), zlib.crc32(text)) + text

    def create(self, path: Path) -> None:
        """Create the file with all its bytes allocated, or leave nothing and say how many it needs."""
        path.parent.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(path.parent).free
        logger.info(
            "replay %s takes %s (%d rows of %s bytes), %s are free",
            path, _megabytes(self.nbytes), self.capacity, f"{self.row_bytes:,}", _megabytes(free),
        )  # fmt: skip
        unfinished = path.with_name(path.name + ".partial")
        try:
            with open(unfinished, "wb") as file:
                os.posix_fallocate(file.fileno(), 0, self.nbytes)
                file.write(self.header())
                file.flush()
                os.fsync(file.fileno())
            os.replace(unfinished, path)
        except OSError as error:
            with contextlib.suppress(OSError):
                unfinished.unlink()
            raise ReplayFullError(
                f"replay {path} needs {self.nbytes:,} bytes and {free:,} are free ({error.strerror}). Make "
                f"room, or give a smaller capacity than {self.capacity} or a half-precision `z_storage`"
            ) from error

    @staticmethod
    def read(path: Path) -> ReplayFormat:
        """Read the header of an existing file and check that the file is whole."""
        with open(path, "rb") as file:
            page = file.read(PAGE)
        size = path.stat().st_size
        if len(page) < _PREFIX.size or page[: len(_MAGIC)] != _MAGIC:
            raise ReplayFormatError(f"{path} is no replay file; give another path, or move that file away")
        _, version, length, checksum = _PREFIX.unpack_from(page)
        if version != _VERSION:
            raise ReplayFormatError(
                f"replay {path} has format version {version} and this program reads {_VERSION}; "
                "use the program that wrote it, or start a new file"
            )
        text = page[_PREFIX.size : _PREFIX.size + length]
        if len(text) != length or zlib.crc32(text) != checksum:
            raise ReplayFormatError(f"replay {path} has a damaged header; restore it or start a new file")
        try:
            fields = parse_json(text, origin=f"replay {path}")
            shapes, lineage = Shapes(**fields.pop("shapes")), Lineage(**fields.pop("lineage"))
            found = ReplayFormat(shapes=shapes, lineage=lineage, **fields)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ReplayFormatError(
                f"replay {path} has a header of another program ({type(error).__name__}: {error}); restore it or start "
                "a new file"
            ) from error
        if size != found.nbytes:
            raise ReplayFormatError(
                f"replay {path} has {size:,} bytes and its header promises {found.nbytes:,}: it was "
                "truncated, for instance by an incomplete copy; copy it again or start a new file"
            )
        return found

    def require_fits(self, found: ReplayFormat, path: Path) -> None:
        """Raise unless the file at ``path``, of format ``found``, is of this format and lineage."""
        self.lineage.require_same(found.lineage, what=f"replay {path}")
        wanted, present = _flat(self), _flat(found)
        different = [name for name in wanted if wanted[name] != present[name]]
        if different:
            details = ", ".join(f"`{name}` {present[name]} (asked for {wanted[name]})" for name in different)
            raise ReplayFormatError(
                f"replay {path} was made with {details}; open it with its own values, or give another path"
            )


def _flat(given: ReplayFormat) -> dict[str, Any]:
    fields = dataclasses.asdict(given)
    del fields["lineage"]
    return {**fields.pop("shapes"), **fields}


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"
