"""Lock on the folder of a run: one graph or trainer writes there at a time.

The kernel releases the lock (flock) at every end of its process, so that no stale lock prevents the next start. Taking
it removes unfinished files of killed processes.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
from pathlib import Path

from rlt_ros.store.parameters import ConfigError
from rlt_ros.store.storage import sweep

LOCK_FILE = ".lock"


class RunLock:
    """Lock on a folder, held until :meth:`release` or the end of the process.

    Args:
        folder: folder of the run, created if missing.

    Raises:
        ConfigError: another process holds the lock, or the folder cannot be written to.
    """

    def __init__(self, folder: Path) -> None:
        path = folder / LOCK_FILE
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._file = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise ConfigError(
                f"out `{folder}` cannot be written to ({error.strerror}); choose another"
            ) from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(self._file, 200, 0).decode(errors="replace").strip()
            os.close(self._file)
            raise ConfigError(_in_use(folder, holder)) from None
        os.ftruncate(self._file, 0)
        # On a full disk the error of the first real file is the useful one.
        with contextlib.suppress(OSError):
            os.pwrite(self._file, f"process {os.getpid()} on {socket.gethostname()}\n".encode(), 0)
        sweep(folder)

    def release(self) -> None:
        """Release the lock; a second call does nothing."""
        if self._file >= 0:
            os.close(self._file)
        self._file = -1


def require_free(folder: Path) -> None:
    """Check, without writing, that no process holds the lock on ``folder``.

    Raises:
        ConfigError: a process holds it; the message contains its pid and host.
    """
    with contextlib.suppress(FileNotFoundError, NotADirectoryError), (folder / LOCK_FILE).open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigError(_in_use(folder, file.read(200).decode(errors="replace").strip())) from None


def _in_use(folder: Path, holder: str) -> str:
    return (
        f"out `{folder}` is in use by {holder or 'another process'}; stop that one, or choose another folder"
    )
