"""Append-only JSON lines that survive a kill at any time: a run's episodes and measurements."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rlt_ros.store.documents import DocumentError, Kind, parse_json, require_keys
from rlt_ros.store.storage import StorageError

_NO_KEYS: Mapping[str, Kind] = {}


def read_records(path: Path, keys: Mapping[str, Kind] = _NO_KEYS) -> list[dict[str, Any]]:
    """Complete lines of a journal, oldest first, up to the first damaged one; empty without a file.

    Raises:
        StorageError: a line lacks one of ``keys``, or has a value of another kind for it.
    """
    try:
        lines = path.read_bytes().splitlines(keepends=True)
    except FileNotFoundError:
        return []
    records = itertools.takewhile(lambda record: record is not None, map(_parsed, lines))
    return require_lines([record for record in records if record is not None], keys, path)


class Journal:
    """File of JSON objects, one per line. Opening it drops a last line that was torn by a kill.

    Args:
        path: the file; created if missing.
        keys: required keys of every line, with the kinds of their values.

    Raises:
        StorageError: a line lacks a key.
    """

    def __init__(self, path: Path, keys: Mapping[str, Kind] = _NO_KEYS) -> None:
        self.path = path
        self.records: list[dict[str, Any]] = []
        whole = 0
        if path.exists():
            for line in path.read_bytes().splitlines(keepends=True):
                record = _parsed(line)
                if record is None:
                    break
                self.records.append(record)
                whole += len(line)
        require_lines(self.records, keys, path)
        # Unbuffered: a buffer would keep a line that a full disk rejected and write it on closing.
        self._file = path.open("ab", buffering=0)
        self._file.truncate(whole)
        self._whole = whole

    def append(self, record: Mapping[str, Any]) -> None:
        """Append one object; it is on the disk on return.

        Raises:
            StorageError: the disk is full or fails; the file keeps its earlier lines and remains usable.
        """
        line = memoryview(json.dumps(record, allow_nan=False).encode() + b"\n")
        whole = self._whole + len(line)
        try:
            while line:
                line = line[self._file.write(line) :]
            os.fsync(self._file.fileno())
        except OSError as error:
            self._file.truncate(self._whole)
            raise StorageError(
                f"{self.path}: could not be written ({error}); its earlier lines are intact. Free some disk space and "
                "repeat the command to continue"
            ) from error
        self._whole = whole
        self.records.append(dict(record))

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def require_lines(
    records: list[dict[str, Any]], keys: Mapping[str, Kind], path: Path
) -> list[dict[str, Any]]:
    """Check that each record has the keys, and return them.

    Raises:
        StorageError: one lacks a key, or has a value of another kind for it.
    """
    try:
        for number, record in enumerate(records, start=1):
            require_keys(
                record, keys, origin=f"{path}: line {number}", remedy="restore it, or remove that line"
            )
    except DocumentError as error:
        raise StorageError(str(error)) from error
    return records


def _parsed(line: bytes) -> dict[str, Any] | None:
    if not line.endswith(b"\n"):
        return None
    try:
        record = parse_json(line)
    except ValueError:
        return None
    return record if isinstance(record, dict) else None
