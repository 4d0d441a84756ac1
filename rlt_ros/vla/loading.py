"""The frozen half by name, for every process that needs it; `rlt_ros.vla.reference` says how a VLA is named."""

from __future__ import annotations

from rlt_ros.rlt.storage import StorageError
from rlt_ros.rlt.token_readouts import load_readout
from rlt_ros.robots.profile import DEFAULT_ROBOT
from rlt_ros.robots.turns import Mask
from rlt_ros.vla.builtin import BuiltinVLA, load_builtin
from rlt_ros.vla.frozen import FrozenVLA
from rlt_ros.vla.protocol import VLA
from rlt_ros.vla.reference import BUILTIN, parse
from rlt_ros.vla.weights import VLA_FILE, builtin_folder, token_path

__all__ = ["BUILTIN", "load_frozen", "load_vla", "token_path"]


def load_frozen(vla: str, task: str, robot: str = DEFAULT_ROBOT, continuous: Mask | None = None) -> FrozenVLA:
    """The VLA with the RL token of a task.

    Args:
        vla: its name.
        task: name of the task whose token is wanted.
        robot: profile of the robot that it shall move; says which of the shipped weights `builtin` means.
        continuous: (A,) its joints that turn without end; None for none.

    Raises:
        StorageError: a file is missing, damaged, or not the one that the folder lists.
        LineageError: the token was made for another VLA.
        ConfigError: the name or the card of a foreign VLA is wrong.
        VLAUnavailableError: its server does not answer, or gives no hidden states.
    """
    reference = parse(vla)
    if reference.kind == BUILTIN:
        return FrozenVLA(*load_builtin(task, builtin_folder(reference, robot)), continuous)
    path = token_path(vla, task, robot)
    if not path.is_file():
        raise StorageError(
            f"{path}: there is no RL token of task `{task}` for `{vla}`; train one with "
            f"`rlt-ros pretrain --data DEMONSTRATIONS --vla {vla} --task {task} --out {path.parent}`"
        )
    model = load_vla(vla, robot)
    return FrozenVLA(model, load_readout(path, vla=model.fingerprint), continuous)


def load_vla(vla: str, robot: str = DEFAULT_ROBOT) -> VLA:
    """The VLA alone, for making its token.

    Raises:
        As `load_frozen`.
    """
    reference = parse(vla)
    if reference.kind == BUILTIN:
        return BuiltinVLA.load(builtin_folder(reference, robot) / VLA_FILE)
    from rlt_ros.vla.backends import open_backend

    return open_backend(reference)
