"""Weights on disk: a folder with one VLA, one token a task, and an index with checksums.

The folders that ship with the package, one a robot, and the one that ``rlt-ros pretrain`` makes have the same form:
``vla.safetensors``, ``token_<task>.safetensors`` and ``pretrain.json``.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from rlt_ros.rlt.storage import StorageError
from rlt_ros.rlt.token_readouts import Readout, load_readout
from rlt_ros.vla.builtin.policy import BuiltinVLA

_SHIPPED = Path(__file__).parent / "weights"
INDEX = "pretrain.json"
VLA_FILE = "vla.safetensors"


def shipped_weights(robot: str) -> Path:
    """The folder of the weights that ship for a robot: the name of its profile, or the path of the profile's file.

    Raises `StorageError` where none ship.
    """
    folder = _SHIPPED / Path(robot).stem
    if not (folder / INDEX).is_file():
        have = ", ".join(sorted(path.parent.name for path in _SHIPPED.glob(f"*/{INDEX}")))
        raise StorageError(
            f"no weights of the built-in VLA ship for robot `{robot}`, only for {have}. Make some with `rlt-ros "
            f"pretrain --robot {robot} --out DIR` and give DIR; those of a robot that is alike in joints and cameras "
            "are named `builtin:ROBOT`"
        )
    return folder


def token_file(task: str) -> str:
    """Name of a task's token file."""
    return f"token_{task}.safetensors"


def load_builtin(task: str, folder: Path) -> tuple[BuiltinVLA, Readout]:
    """VLA and token of a task from a weights folder, each checked against the index.

    Raises `StorageError` when a file is missing, is not the one that the index lists, or the folder lacks
    the task; and `rlt_ros.rlt.lineage.LineageError` when the token was made for another VLA.
    """
    checksums = read_index(folder)["files"]
    for name in (VLA_FILE, token_file(task)):
        if name not in checksums:
            have = ", ".join(sorted(checksums)) or "nothing"
            raise StorageError(
                f"{folder / INDEX}: lists no {name} (it lists {have}); run `rlt-ros pretrain` for it"
            )
        if checksum(folder / name) != checksums[name]:
            raise StorageError(
                f"{folder / name}: is not the file that {INDEX} lists; run `rlt-ros pretrain` again"
            )
    vla = BuiltinVLA.load(folder / VLA_FILE)
    return vla, load_readout(folder / token_file(task), vla=vla.fingerprint)


def read_index(folder: Path) -> dict[str, Any]:
    """The folder's index. Raises `StorageError` when it is missing or unreadable."""
    try:
        index: dict[str, Any] = json.loads((folder / INDEX).read_text(encoding="utf-8"))
        if not isinstance(index["files"], dict):
            raise TypeError("files is not a mapping")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StorageError(
            f"{folder}: holds no weights ({error}); make them with `rlt-ros pretrain`"
        ) from error
    return index


def checksum(path: Path) -> str:
    """SHA-256 of a file, hexadecimal. Raises `StorageError` when it cannot be read."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise StorageError(f"{path}: cannot be read ({error}); make it with `rlt-ros pretrain`") from error
