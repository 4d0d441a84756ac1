"""The frozen half by name, for every process that needs it: ``builtin``, or a folder of weights."""

from __future__ import annotations

from pathlib import Path

from rlt_ros.vla.builtin import load_builtin
from rlt_ros.vla.frozen import FrozenVLA

BUILTIN = "builtin"


def load_frozen(vla: str, task: str) -> FrozenVLA:
    """The VLA with the RL token of a task.

    Args:
        vla: ``builtin`` for the weights that ship with the package, or a folder that `rlt-ros pretrain` made.
        task: name of the task whose token is wanted.

    Raises:
        StorageError: a file is missing, damaged, or not the one that the folder lists.
        LineageError: the token was made for another VLA.
    """
    return FrozenVLA(*(load_builtin(task) if vla == BUILTIN else load_builtin(task, Path(vla))))
