"""Files of a bag's folder: those in the metadata and those in the folder."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rlt_ros.bags.bag_metadata import METADATA, Metadata, read_metadata
from rlt_ros.bags.errors import BagError
from rlt_ros.store.documents import DocumentError

SUFFIXES = (".mcap", ".db3", ".mcap.zstd", ".db3.zstd")
_ZSTD = ".zstd"
_REINDEX = "the files in the folder were read; `ros2 bag reindex` writes a new metadata.yaml"


@dataclass
class BagFiles:
    """Files of a bag.

    Attributes:
        files: files to read.
        metadata: None without a usable one.
        faults: sentences about missing and unlisted files.
    """

    files: list[Path]
    metadata: Metadata | None = None
    faults: list[str] = field(default_factory=list)


def find_files(path: Path) -> BagFiles:
    """Find the files of a bag, given its folder or one of its files.

    Raises:
        BagError: the path is no bag.
    """
    if not path.exists():
        raise BagError(f"there is no bag {path}; check the path")
    if path.is_file():
        if not path.name.endswith(SUFFIXES):
            raise BagError(f"{path} is no bag; give a folder with {METADATA}, or a file *.mcap or *.db3")
        return BagFiles([path])
    there = sorted(_data_files(path), key=_natural)
    try:
        metadata = read_metadata(path)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        missing = isinstance(error.__cause__, FileNotFoundError)
        fault = str(error) if isinstance(error, DocumentError) else repr(error)
        why = "is missing: its recorder did not finish" if missing else f"cannot be used: {fault}"
        if not there:
            raise BagError(
                f"{path} is no bag: {METADATA} {why}, and there is no *.mcap or *.db3; check the path"
            ) from None
        found = BagFiles([], faults=[f"{path / METADATA} {why}; {_REINDEX}"])
        _add_unlisted(found, there)
        return found
    found = BagFiles([], metadata)
    for name in dict.fromkeys(metadata.files):
        _add_listed(found, path / name)
    _add_unlisted(found, there, listed=metadata.files)
    return found


def _add_listed(found: BagFiles, file: Path) -> None:
    twin = _twin(file)
    if file.is_file():
        found.files.append(file)
    elif twin.is_file():
        how = "compressed" if twin.name.endswith(_ZSTD) else "not compressed"
        found.files.append(twin)
        found.faults.append(f"{file} is missing; {twin.name}, the same file {how}, was read in its place")
    else:
        found.faults.append(f"{file} is missing; the bag's other files were read")


def _add_unlisted(found: BagFiles, there: Collection[Path], listed: Collection[str] | None = None) -> None:
    """Add unlisted files of a folder; of a compressed and a plain copy only the plain one, which is the original."""
    for file in sorted(there, key=lambda path: path.name.endswith(_ZSTD)):
        if file in found.files:
            continue
        if _twin(file) in found.files:
            found.faults.append(f"{file} was not read: {_twin(file).name} was, which is the same file")
            continue
        found.files.append(file)
        if listed is not None:
            found.faults.append(f"{file} is not in {METADATA}; it was read too")


def _twin(file: Path) -> Path:
    """Compressed counterpart of a plain file, or vice versa."""
    name = file.name
    return file.with_name(name.removesuffix(_ZSTD) if name.endswith(_ZSTD) else name + _ZSTD)


def _data_files(folder: Path) -> list[Path]:
    # Hidden files belong to file managers, or are incomplete.
    return [
        path
        for path in folder.iterdir()
        if path.name.endswith(SUFFIXES) and not path.name.startswith(".") and path.is_file()
    ]


def _natural(path: Path) -> list[Any]:
    """Sort key that puts ``bag_10`` after ``bag_9``."""
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", path.name)]
