"""Loading of VLA and RL token by address; see `rlt_ros.vla.address`."""

from __future__ import annotations

from rlt_ros.rlt.token_readouts import load_readout
from rlt_ros.robots.profile import DEFAULT_ROBOT
from rlt_ros.robots.turns import Mask
from rlt_ros.store.storage import StorageError
from rlt_ros.vla.address import BUILTIN, parse_address
from rlt_ros.vla.builtin import BuiltinVLA, load_builtin
from rlt_ros.vla.frozen import FrozenVLA
from rlt_ros.vla.protocol import VLA
from rlt_ros.vla.weights import VLA_FILE, builtin_folder, token_path

__all__ = ["BUILTIN", "load_frozen", "load_vla", "token_path"]


def load_frozen(vla: str, task: str, robot: str = DEFAULT_ROBOT, continuous: Mask | None = None) -> FrozenVLA:
    """Load a VLA with the RL token of a task.

    Args:
        vla: address of the VLA.
        task: name of the task of the token.
        robot: profile of the robot; selects the shipped weights of `builtin`.
        continuous: (A,) joints without a turn limit; None for none.

    Raises:
        StorageError: a file is missing, damaged, or differs from the folder's index.
        LineageError: the token was made for another VLA.
        ConfigError: the address or the adapter of an external VLA is wrong.
        VLAUnavailableError: its server does not answer, or returns no hidden states.
    """
    address = parse_address(vla)
    if address.kind == BUILTIN:
        return FrozenVLA(*load_builtin(task, builtin_folder(address, robot)), continuous)
    path = token_path(vla, task, robot)
    if not path.is_file():
        raise StorageError(
            f"{path}: there is no RL token of task `{task}` for `{vla}`; train one with "
            f"`rlt-ros pretrain --data DEMONSTRATIONS --vla {vla} --task {task} --out {path.parent}`"
        )
    model = load_vla(vla, robot)
    return FrozenVLA(model, load_readout(path, vla=model.fingerprint), continuous)


def load_vla(vla: str, robot: str = DEFAULT_ROBOT) -> VLA:
    """Load a VLA without a token, for training one.

    Raises:
        As `load_frozen`.
    """
    address = parse_address(vla)
    if address.kind == BUILTIN:
        return BuiltinVLA.load(builtin_folder(address, robot) / VLA_FILE)
    from rlt_ros.vla.backends import open_backend

    return open_backend(address)
