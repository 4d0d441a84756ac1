"""Runs the processes of a graph: labelled output, restarts with back-off, one signal that stops all of them in order.

One thread waits for everything at once: output, ends of processes (pidfd), signals and the next restart. Children are
started from that thread alone, since Linux ties "end me when my parent dies" to the thread that started them.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import selectors
import signal
import subprocess
import sys
import termios
import time
import tty
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import FrameType

from rlt_ros.bringup import MISCONFIGURED
from rlt_ros.run_id import PREDECESSOR

_PR_SET_PDEATHSIG = 1  # <linux/prctl.h>
_LIBC = ctypes.CDLL(None, use_errno=True)

STOP_PATIENCE = 30.0
"""s between the polite signal and the hard one. A replay syncs its file, the learner writes its checkpoint and steps
back (nice) for all others: on a busy computer that took it more than 8 s. Who does not want to wait asks again.
"""
_BACK_OFF = (0.5, 1.0, 2.0, 4.0, 8.0)  # s before the first, second, … restart in a row; then it is given up
_PULSE = 2.0  # s that pass at most between two calls of `pulse`
_HEALTHY = 60.0  # s after which a process has earned its restarts again

_LOG_LINE = re.compile(r"^\[(DEBUG|INFO|WARN|ERROR|FATAL)\] \[[\d.]+\] \[[^\]]*\]: (.*)$")


@dataclass(frozen=True)
class Process:
    """What to run.

    Attributes:
        label: unique, for people.
        command: program and arguments.
        restart: start it again when it dies.
        critical: stop everything when it is gone for good.
        ends_all: stop everything when it, and every other one of which this is true, is finished (status 0).
        keys: give it what comes on the standard input, key by key where that is a terminal.
        unblocks: it takes SIGINT and SIGTERM once it has handlers (`rlt_ros.nodes.start`); until then they are pending.
        environment: beside that of this process.
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
class Outcome:
    """How a process went.

    Attributes:
        status: exit status of its last run; negative: the signal that ended it; None: it never ran.
        restarts: how often it was started again.
        gave_up: whether it died and was not, or not any more, started again.
        last_words: its newest error, or else its last line.
    """

    status: int | None = None
    restarts: int = 0
    gave_up: bool = False
    last_words: str = ""


@dataclass(frozen=True)
class Line:
    """One line to show: of a process, or about it (``level`` "EVENT")."""

    label: str
    level: str
    text: str


class Supervisor:
    """Runs processes until one ends everything, or somebody asks to stop.

    Args:
        processes: in the order in which they are started.
        stop_order: labels in the order in which they are stopped; those it does not name come last.
        show: called with each line of output.
        pulse: called every few seconds while they run.
    """

    def __init__(
        self,
        processes: Sequence[Process],
        *,
        stop_order: Sequence[str],
        show: Callable[[Line], None],
        pulse: Callable[[], None] = lambda: None,
    ) -> None:
        self._show, self._pulse = show, pulse
        self._children = [_Child(process) for process in processes]
        rank = {label: index for index, label in enumerate(stop_order)}
        self._stop_order = sorted(self._children, key=lambda child: rank.get(child.process.label, len(rank)))
        self._selector = selectors.DefaultSelector()
        self._signals = 0  # how often somebody asked to stop
        self._ending = ""  # why everything stops; empty while it goes on
        self._wakeup = self._keyboard = -1  # descriptors, while they are read

    @property
    def interrupted(self) -> bool:
        """Return whether a signal asked to stop."""
        return self._signals > 0

    def run(self) -> dict[str, Outcome]:
        """Run everything; returns how each process went, by label."""
        with self._catching_signals(), self._reading_keys():
            try:
                for child in self._children:
                    self._start(child)
                while not self._ending:
                    self._step(self._until_restart())
                    self._pulse()
                self._event("", f"stopping: {self._ending}")
                for child in self._stop_order:
                    self._stop(child)
            finally:
                for child in self._children:
                    child.kill()
                    self._settle(child)
                self._selector.close()
        return {child.process.label: child.outcome for child in self._children}

    def _start(self, child: _Child) -> None:
        child.start()
        self._selector.register(child.output, selectors.EVENT_READ, child)
        self._selector.register(child.pidfd, selectors.EVENT_READ, child)

    def _step(self, timeout: float) -> None:
        """Handle what has come, or what comes within ``timeout`` seconds."""
        for key, _ in self._selector.select(timeout):
            child = key.data
            if key.fd == self._wakeup:
                self._take_signals()
            elif key.fd == self._keyboard:
                self._pass_on_keys()
            elif not child.running:
                pass  # its end was in the same batch, and took the last of its output along
            elif key.fd == child.output:
                self._pass_on(child)
            else:
                self._settle(child)
                if not self._ending:
                    self._ended(child)
        now = time.monotonic()
        for child in self._children:
            if not self._ending and child.restart_at is not None and child.restart_at <= now:
                child.outcome.restarts += 1
                self._start(child)

    def _until_restart(self) -> float:
        """Seconds until the next restart or pulse is due."""
        times = [child.restart_at for child in self._children if child.restart_at is not None]
        return min(_PULSE, max(0.0, min(times) - time.monotonic())) if times else _PULSE

    def _ended(self, child: _Child) -> None:
        """Decide what follows from the end of a process."""
        process, status = child.process, child.outcome.status
        if status == 0 and process.ends_all:
            child.finished = True
            if all(other.finished for other in self._children if other.process.ends_all):
                self._ending = f"{process.label} is done"
            return
        text = f"ended with {described(status)}"
        wait = child.back_off()
        if process.restart and status != MISCONFIGURED and wait is not None:
            child.restart_at = time.monotonic() + wait
            self._event(process.label, f"{text}; starts again in {wait:g} s")
            return
        child.outcome.gave_up = True
        self._event(process.label, f"{text}{'; it died too often in a row' if wait is None else ''}")
        if process.critical or process.ends_all:
            self._ending = f"nothing works without {process.label}"
        elif not any(other.running or other.restart_at is not None for other in self._children):
            self._ending = "nothing is left to run"

    def _stop(self, child: _Child) -> None:
        """Interrupt a process and wait for its end; hard, when it takes too long or somebody asks twice."""
        if not child.running:
            return
        asked = self._signals
        child.signal(signal.SIGINT)
        end = time.monotonic() + STOP_PATIENCE
        while child.running and (left := end - time.monotonic()) > 0 and self._signals == asked:
            self._step(left)
        if child.running:
            why = "it did not stop in time" if self._signals == asked else "asked again"
            self._event(child.process.label, f"killed: {why}")
            child.kill()
            self._settle(child)

    def _settle(self, child: _Child) -> None:
        """Take leave of a process that has ended: its last lines, its status, its descriptors."""
        if not child.running:
            return
        child.outcome.status = child.wait()
        self._pass_on(child)
        for line in child.rest():
            self._line(child, line)
        self._selector.unregister(child.output)
        self._selector.unregister(child.pidfd)
        child.close()

    def _pass_on(self, child: _Child) -> None:
        for line in child.lines():
            self._line(child, line)

    def _line(self, child: _Child, line: str) -> None:
        found = _LOG_LINE.match(line)
        level, text = found.groups() if found else ("", line)
        child.note(level, text)
        self._show(Line(child.process.label, level, text))

    def _event(self, label: str, text: str) -> None:
        self._show(Line(label, "EVENT", text))

    def _take_signals(self) -> None:
        with contextlib.suppress(BlockingIOError):
            self._signals += len(os.read(self._wakeup, 64))
        self._ending = self._ending or "asked to"

    def _pass_on_keys(self) -> None:
        keys = os.read(self._keyboard, 1024)
        if not keys:
            self._selector.unregister(self._keyboard)
        for child in self._children:
            child.type(keys)

    @contextlib.contextmanager
    def _reading_keys(self) -> Iterator[None]:
        """Take the standard input, if somebody wants it."""
        if not any(child.process.keys for child in self._children):
            yield
            return
        self._keyboard = sys.stdin.fileno()
        before = termios.tcgetattr(self._keyboard) if os.isatty(self._keyboard) else None
        if before:
            tty.setcbreak(self._keyboard)  # key by key, without echo; Ctrl-C still stops
        self._selector.register(self._keyboard, selectors.EVENT_READ, None)
        try:
            yield
        finally:
            if before:
                termios.tcsetattr(self._keyboard, termios.TCSADRAIN, before)

    @contextlib.contextmanager
    def _catching_signals(self) -> Iterator[None]:
        self._wakeup, write = os.pipe()
        os.set_blocking(self._wakeup, False)
        os.set_blocking(write, False)
        self._selector.register(self._wakeup, selectors.EVENT_READ, None)
        fd_before = signal.set_wakeup_fd(write, warn_on_full_buffer=False)
        before = {number: signal.signal(number, _nothing) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
            signal.set_wakeup_fd(fd_before)
            os.close(write)
            os.close(self._wakeup)


class _Child:
    """A process, its output, and its history."""

    def __init__(self, process: Process) -> None:
        self.process, self.outcome = process, Outcome()
        self.restart_at: float | None = None  # steady time
        self.finished = False
        self.output = self.pidfd = -1
        self._popen: subprocess.Popen[bytes] | None = None
        self._started, self._deaths = 0.0, 0
        self._error = False  # whether the last words are an error that was logged
        self._pid = 0  # of the newest run; stays in discovery for the lease of its participant
        self._partial = b""

    @property
    def running(self) -> bool:
        return self._popen is not None

    def start(self) -> None:
        predecessor = {PREDECESSOR: str(self._pid)} if self._pid else {}
        self._popen = subprocess.Popen(
            self.process.command,
            stdin=subprocess.PIPE if self.process.keys else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**os.environ, "PYTHONUNBUFFERED": "1", **predecessor, **self.process.environment},
            preexec_fn=_leave_with(os.getpid(), self.process.unblocks),
        )
        assert self._popen.stdout is not None
        self._pid = self._popen.pid
        self.output, self.pidfd = self._popen.stdout.fileno(), os.pidfd_open(self._pid)
        os.set_blocking(self.output, False)
        self._started, self.restart_at, self._partial = time.monotonic(), None, b""
        self.outcome.last_words, self._error = "", False

    def back_off(self) -> float | None:
        """Seconds to wait before the next start, or None when it died too often in a row."""
        self._deaths = 1 if time.monotonic() - self._started > _HEALTHY else self._deaths + 1
        return _BACK_OFF[self._deaths - 1] if self._deaths <= len(_BACK_OFF) else None

    def lines(self) -> Iterator[str]:
        """Whole lines that have come; the beginning of another one is kept."""
        with contextlib.suppress(BlockingIOError):
            while data := os.read(self.output, 65536):
                *whole, self._partial = (self._partial + data).split(b"\n")
                yield from (line.decode(errors="replace").rstrip("\r") for line in whole)

    def note(self, level: str, text: str) -> None:
        """Keep what may turn out to be the reason of its end: an error, and of a traceback the last line."""
        raw = not level and not self._error and text.strip() and not text.startswith(" ")
        if level in ("ERROR", "FATAL"):
            self.outcome.last_words, self._error = text, not text.startswith("Traceback")
        elif raw:
            self.outcome.last_words = text

    def rest(self) -> Iterator[str]:
        if self._partial:
            yield self._partial.decode(errors="replace")

    def type(self, keys: bytes) -> None:
        """Give keys to a process that wants them; none say that there are no more."""
        stream = self._popen and self._popen.stdin
        if not stream:
            return
        with contextlib.suppress(BrokenPipeError):
            if keys:
                os.write(stream.fileno(), keys)
            else:
                stream.close()

    def signal(self, number: signal.Signals) -> None:
        """To the process and what it has started."""
        assert self._popen is not None
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._popen.pid, number)

    def kill(self) -> None:
        if self.running:
            self.signal(signal.SIGKILL)

    def wait(self) -> int:
        assert self._popen is not None
        return self._popen.wait()

    def close(self) -> None:
        assert self._popen is not None
        assert self._popen.stdout is not None
        self._popen.stdout.close()
        if self._popen.stdin:
            self._popen.stdin.close()
        os.close(self.pidfd)
        self._popen = None


def _leave_with(parent: int, blocked: bool) -> Callable[[], None]:
    """For the child: be a group of its own, so that Ctrl-C reaches only us, and end when we do, however we do."""

    def prepare() -> None:
        os.setpgid(0, 0)
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # a shell's background leaves it ignored
        if blocked:
            signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM))
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it was too late
            os._exit(1)

    return prepare


def described(status: int | None) -> str:
    """Exit status of a process in words."""
    if status is not None and status < 0:
        return f"signal {signal.Signals(-status).name}"
    return f"status {status}"


def _nothing(number: int, frame: FrameType | None) -> None:
    """The wake-up pipe tells."""
