"""Weights folder: one VLA, one RL token per task, and an index with checksums.

The shipped folders, one per robot, and those of ``rlt-ros pretrain`` have the same form: ``vla.safetensors``,
``token_<task>.safetensors`` and ``pretrain.json``. Nothing here loads tensors.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from rlt_ros.store.documents import DocumentError, read_json_object, require_keys
from rlt_ros.store.parameters import did_you_mean
from rlt_ros.store.storage import StorageError
from rlt_ros.vla.adapter import load_adapter
from rlt_ros.vla.address import VLAAddress, parse_address

_SHIPPED = Path(__file__).parent / "builtin" / "weights"
INDEX = "pretrain.json"
VLA_FILE = "vla.safetensors"


def shipped_weights(robot: str) -> Path:
    """Folder of the shipped weights of a robot: name of its profile, or path of the profile's file.

    Raises `StorageError` if none ship.
    """
    folder = _SHIPPED / Path(robot).stem
    if not (folder / INDEX).is_file():
        have = sorted(path.parent.name for path in _SHIPPED.glob(f"*/{INDEX}"))
        raise StorageError(
            f"no weights of the built-in VLA ship for robot `{robot}`; {did_you_mean(robot, have)}there are those of "
            f"{', '.join(have)}; make some with `rlt-ros pretrain --robot {robot} --out DIR` and give DIR, or name "
            "those of a robot with the same joints and cameras, `builtin:ROBOT`"
        )
    return folder


def token_file(task: str) -> str:
    """Name of a task's token file."""
    return f"token_{task}.safetensors"


def read_index(folder: Path) -> dict[str, Any]:
    """Read the folder's index. Raises `StorageError` if it is missing or unreadable."""
    try:
        index = read_json_object(folder / INDEX)
        require_keys(index, {"files": dict}, origin=folder / INDEX)
    except DocumentError as error:
        raise StorageError(
            f"{folder}: holds no weights ({error}); make them with `rlt-ros pretrain`"
        ) from error
    return index


def checksum(path: Path) -> str:
    """SHA-256 of a file, hexadecimal. Raises `StorageError` if it cannot be read."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise StorageError(f"{path}: cannot be read ({error}); make it with `rlt-ros pretrain`") from error


def builtin_folder(address: VLAAddress, robot: str) -> Path:
    """Folder of the built-in VLA's weights: that of the address, or the shipped one of ``robot``."""
    return Path(address.location) if address.location else shipped_weights(address.robot or robot)


def token_path(vla: str, task: str, robot: str) -> Path:
    """File of a task's RL token, present or not."""
    address = parse_address(vla)
    if address.adapter is None:
        return builtin_folder(address, robot) / token_file(task)
    return load_adapter(address.adapter).tokens_folder / token_file(task)


def require_weights(vla: str, task: str, robot: str) -> None:
    """Check by name and index, without loading, that VLA and RL token of a task are present.

    Raises:
        StorageError, ConfigError: one of them is missing; the message contains the remedy.
    """
    path = token_path(vla, task, robot)
    if parse_address(vla).adapter is None:
        listed = read_index(path.parent)["files"]
        missing = [
            name for name in (VLA_FILE, path.name) if name not in listed or not (path.parent / name).is_file()
        ]
    else:
        missing = [] if path.is_file() else [path.name]
    if missing:
        raise StorageError(
            f"{path.parent} has no {missing[0]}, which task `{task}` needs with VLA `{vla}`; train it with "
            f"`rlt-ros pretrain --task {task} --vla {vla} --out {path.parent}`"
        )
