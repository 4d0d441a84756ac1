"""Loading of VLA and RL token from a weights folder (`rlt_ros.vla.weights`)."""

from __future__ import annotations

from pathlib import Path

from rlt_ros.rlt.token_readouts import Readout, load_readout
from rlt_ros.store.storage import StorageError
from rlt_ros.vla.builtin.policy import BuiltinVLA
from rlt_ros.vla.weights import INDEX, VLA_FILE, checksum, read_index, token_file


def load_builtin(task: str, folder: Path) -> tuple[BuiltinVLA, Readout]:
    """Load VLA and token of a task from a weights folder, each checked against the index.

    Raises:
        StorageError: a file is missing or differs from the index, or the folder lacks the task.
        LineageError: the token was made for another VLA.
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
