"""Replay file format: layout, creation and validation.

The file has a fixed size, so that a full disk is detected on creation:

    page 0   magic, version, checksum and a JSON header (sizes, types, lineage)
    page 1   counters: committed rows, rows known to be on the disk, boot id of the writer
    then     records (one small struct per row), actions, token table, table of proprioception and reference

Each state is part of two windows, as state and as next state one chunk earlier. Tables that store it once halve the
file.
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
from rlt_ros.store.documents import parse_json
from rlt_ros.store.lineage import Lineage
from rlt_ros.store.storage import StorageError

logger = logging.getLogger(__name__)

PAGE = 4096
WRITE_AHEAD_ROWS = 64
"""Row slots beyond the capacity. The writer publishes at the latest when they are full, so it never overwrites a stored
row, and a reader has as many writes until a row that it reads is overwritten."""
STATE_REUSE_WINDOW = 256
"""Age of the oldest state that a new row reuses, in states: a chunk of stride-1 windows of 20 robots."""

_MAGIC = b"RLTRING\n"
_VERSION = 1
# Magic, version, length and CRC-32 of the JSON header.
_PREFIX = struct.Struct("<8sIII")
_Z_TYPES = {"float16": torch.float16, "bfloat16": torch.bfloat16, "float32": torch.float32}


class ReplayError(StorageError):
    """Failure of a replay. The message names file, fault and remedy."""


class ReplayFormatError(ReplayError):
    """The file is foreign, truncated, or of other sizes than requested."""


class ReplayFullError(ReplayError):
    """The file system has no room for the file."""


class ReplayLockedError(ReplayError):
    """Another writer has the file open."""


@dataclasses.dataclass(frozen=True)
class ReplayFormat:
    """Layout of the file and meaning of its rows.

    Attributes:
        shapes: sizes of states and actions.
        capacity: rows kept; older ones are overwritten.
        z_storage: type of the stored tokens, ``float16``, ``bfloat16`` or ``float32``.
        gamma: discount per control step in rewards and discounts.
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
        """Rows in the file, see :data:`WRITE_AHEAD_ROWS`."""
        return self.capacity + WRITE_AHEAD_ROWS

    @property
    def live_states(self) -> int:
        """States per full replay: one per row, and one per 8 rows for the last states of episodes."""
        return self.capacity + self.capacity // 8 + 2

    @property
    def state_slots(self) -> int:
        """States in the file: those of valid rows, those they share, and two per row being written."""
        return self.live_states + STATE_REUSE_WINDOW + 2 * WRITE_AHEAD_ROWS + 2

    @functools.cached_property
    def record(self) -> np.dtype[Any]:
        """Struct of a row: widest fields first, padded to 8 bytes, without hidden gaps.

        ``row``, ``state`` and ``next_state`` count since the file was created. ``states_end`` is the number of states
        written, and ``oldest_row`` the oldest valid row, when this row was complete.
        """
        fields: list[tuple[Any, ...]] = [
            ("row", "<i8"),
            ("episode", "<i8"),
            ("step", "<i8"),
            ("state", "<i8"),
            ("next_state", "<i8"),
            ("states_end", "<i8"),
            ("oldest_row", "<i8"),
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
            ("side", numbers, (self.state_slots, shapes.proprio_dim + action)),
        ]
        result, offset = {}, 2 * PAGE
        for name, dtype, shape in parts:
            result[name] = (offset, dtype, shape)
            offset += math.ceil(math.prod(shape) * dtype.itemsize / PAGE) * PAGE
        return result

    @property
    def nbytes(self) -> int:
        """Size of the file."""
        offset, dtype, shape = self.regions["side"]
        return offset + math.ceil(math.prod(shape) * dtype.itemsize / PAGE) * PAGE

    @property
    def row_bytes(self) -> int:
        """Bytes of file per row of capacity."""
        more = dataclasses.replace(self, capacity=self.capacity + 8 * PAGE)
        return round((more.nbytes - self.nbytes) / (8 * PAGE))

    def header(self) -> bytes:
        """Content of the first page, without padding."""
        text = json.dumps(dataclasses.asdict(self)).encode()
        return _PREFIX.pack(_MAGIC, _VERSION, len(text), zlib.crc32(text)) + text

    def create(self, path: Path) -> None:
        """Create the file with all its bytes allocated, or raise and leave no file."""
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
        """Read the header of an existing file and check that the file is complete."""
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
            details = ", ".join(f"`{name}` {present[name]} (requested {wanted[name]})" for name in different)
            raise ReplayFormatError(
                f"replay {path} was made with {details}; open it with its own values, or give another path"
            )


def _flat(given: ReplayFormat) -> dict[str, Any]:
    fields = dataclasses.asdict(given)
    del fields["lineage"]
    return {**fields.pop("shapes"), **fields}


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"
