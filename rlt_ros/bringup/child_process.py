"""Child process of a launch: start, output, exit and back-off of its restarts."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from rlt_ros.run_id import PREDECESSOR

# <linux/prctl.h>
_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None, use_errno=True)
# s before successive restarts of a process; after the last one it is not restarted again.
_BACK_OFF = (0.5, 1.0, 2.0, 4.0, 8.0)
# s, greatest time between two calls of `pulse`.
# s of running after which the back-off of a process starts again.
_MIN_UPTIME = 60.0


@dataclass(frozen=True)
class Process:
    """Process to run.

    Attributes:
        label: unique name for display.
        command: program and arguments.
        restart: restart it when it dies.
        critical: stop all processes when it cannot be restarted.
        ends_all: stop all processes when all with this flag have finished with status 0.
        keys: forward the standard input to it, key by key from a terminal.
        unblocks: it unblocks SIGINT and SIGTERM once it has handlers (`rlt_ros.nodes.start`); they are pending before.
        environment: variables in addition to those of this process.
    """

    label: str
    command: Sequence[str]
    restart: bool = False
    critical: bool = False
    ends_all: bool = False
    keys: bool = False
    unblocks: bool = False
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass
class ProcessExit:
    """End of a process.

    Attributes:
        status: exit status of its last run; minus the number of the signal that ended it; None if it never ran.
        restarts: number of restarts.
        gave_up: it died and was not restarted.
        last_words: its newest error, or its last line.
    """

    status: int | None = None
    restarts: int = 0
    gave_up: bool = False
    last_words: str = ""


class Child:
    """Process with its output and history."""

    def __init__(self, process: Process) -> None:
        self.process, self.exit = process, ProcessExit()
        # Steady time, s.
        self.restart_at: float | None = None
        self.finished = False
        self.output = self.pidfd = -1
        self._popen: subprocess.Popen[bytes] | None = None
        self._started, self._deaths = 0.0, 0
        # The last words are a logged error.
        self._has_error = False
        # Of the newest run; stays in discovery for the lease of its participant.
        self._pid = 0
        self._partial = b""

    @property
    def running(self) -> bool:
        """Return whether the process was started and its end not yet handled."""
        return self._popen is not None

    def start(self) -> None:
        """Start the process, or start it again."""
        predecessor = {PREDECESSOR: str(self._pid)} if self._pid else {}
        self._popen = subprocess.Popen(
            self.process.command,
            stdin=subprocess.PIPE if self.process.keys else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**os.environ, "PYTHONUNBUFFERED": "1", **predecessor, **self.process.environment},
            preexec_fn=_child_setup(os.getpid(), self.process.unblocks),
        )
        assert self._popen.stdout is not None
        self._pid = self._popen.pid
        self.output, self.pidfd = self._popen.stdout.fileno(), os.pidfd_open(self._pid)
        os.set_blocking(self.output, False)
        self._started, self.restart_at, self._partial = time.monotonic(), None, b""
        self.exit.last_words, self._has_error = "", False

    def back_off(self) -> float | None:
        """Delay of the next restart, s; None after too many failures in a row."""
        self._deaths = 1 if time.monotonic() - self._started > _MIN_UPTIME else self._deaths + 1
        return _BACK_OFF[self._deaths - 1] if self._deaths <= len(_BACK_OFF) else None

    def lines(self) -> Iterator[str]:
        """Complete lines of new output; the start of another one is kept."""
        with contextlib.suppress(BlockingIOError):
            while data := os.read(self.output, 65536):
                *whole, self._partial = (self._partial + data).split(b"\n")
                yield from (line.decode(errors="replace").rstrip("\r") for line in whole)

    def record(self, level: str, text: str) -> None:
        """Record a possible reason of the exit: an error, or the last line of a traceback."""
        raw = not level and not self._has_error and text.strip() and not text.startswith(" ")
        if level in ("ERROR", "FATAL"):
            self.exit.last_words, self._has_error = text, not text.startswith("Traceback")
        elif raw:
            self.exit.last_words = text

    def partial_line(self) -> Iterator[str]:
        """Last line of the output, if it has no line end."""
        if self._partial:
            yield self._partial.decode(errors="replace")

    def send_keys(self, keys: bytes) -> None:
        """Send keys to a process that reads them; no keys close its input."""
        stream = self._popen and self._popen.stdin
        if not stream:
            return
        with contextlib.suppress(BrokenPipeError):
            if keys:
                os.write(stream.fileno(), keys)
            else:
                stream.close()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the process and its children."""
        assert self._popen is not None
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._popen.pid, number)

    def kill(self) -> None:
        """Kill the process and its children."""
        if self.running:
            self.signal(signal.SIGKILL)

    def wait(self) -> int:
        """Wait for the end; return the exit status."""
        assert self._popen is not None
        return self._popen.wait()

    def close(self) -> None:
        """Close all descriptors of a process that has ended."""
        assert self._popen is not None
        assert self._popen.stdout is not None
        self._popen.stdout.close()
        if self._popen.stdin:
            self._popen.stdin.close()
        os.close(self.pidfd)
        self._popen = None


def _child_setup(parent: int, blocked: bool) -> Callable[[], None]:
    """Set-up of a child: its own process group, without Ctrl-C of the terminal, and death with its parent."""

    def prepare() -> None:
        os.setpgid(0, 0)
        # A background job of a shell ignores it.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        if blocked:
            signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM))
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        # The parent died before the call.
        if os.getppid() != parent:
            os._exit(1)

    return prepare
