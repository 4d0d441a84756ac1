"""Supervisor of the processes of a graph: labelled output, restarts with back-off, an orderly stop by one signal.

One thread waits for output, exits (pidfd), signals and the next restart. It alone starts children, since Linux ties the
death signal of a child to the thread that started it.
"""

from __future__ import annotations

import contextlib
import os
import re
import selectors
import signal
import sys
import termios
import time
import tty
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from types import FrameType

from rlt_ros.bringup import MISCONFIGURED
from rlt_ros.bringup.child_process import Child, Process, ProcessExit

STOP_TIMEOUT = 30.0
"""s from SIGINT to SIGKILL. A replay syncs its file, and the learner, with low priority, writes its checkpoint, which
took more than 8 s on a busy computer. A second request stops at once.
"""
# s, greatest time between two calls of `pulse`.
_PULSE_PERIOD = 2.0

_LOG_LINE = re.compile(r"^\[(DEBUG|INFO|WARN|ERROR|FATAL)\] \[[\d.]+\] \[[^\]]*\]: (.*)$")


@dataclass(frozen=True)
class OutputLine:
    """Line to display: output of a process, or an event of it (``level`` "EVENT")."""

    label: str
    level: str
    text: str


class Supervisor:
    """Run of processes until one ends all of them, or a signal stops them.

    Args:
        processes: in the order of their start.
        stop_order: labels in the order of their stop; all others are stopped last.
        show: called with each line of output.
        pulse: called every few seconds meanwhile.
    """

    def __init__(
        self,
        processes: Sequence[Process],
        *,
        stop_order: Sequence[str],
        show: Callable[[OutputLine], None],
        pulse: Callable[[], None] = lambda: None,
    ) -> None:
        self._show, self._pulse = show, pulse
        self._children = [Child(process) for process in processes]
        rank = {label: index for index, label in enumerate(stop_order)}
        self._stop_order = sorted(self._children, key=lambda child: rank.get(child.process.label, len(rank)))
        self._selector = selectors.DefaultSelector()
        # Number of signals to stop.
        self._signals = 0
        # Reason of the stop; empty while the processes run.
        self._stop_reason = ""
        # Descriptors, while they are read.
        self._wakeup = self._keyboard = -1

    @property
    def interrupted(self) -> bool:
        """Return whether a signal stopped the processes."""
        return self._signals > 0

    def run(self) -> dict[str, ProcessExit]:
        """Run all processes; return the end of each by label."""
        with self._catching_signals(), self._reading_keys():
            try:
                for child in self._children:
                    self._start(child)
                while not self._stop_reason:
                    self._step(self._until_restart())
                    self._pulse()
                self._event("", f"stopping: {self._stop_reason}")
                for child in self._stop_order:
                    self._stop(child)
            finally:
                for child in self._children:
                    child.kill()
                    self._finish(child)
                self._selector.close()
        return {child.process.label: child.exit for child in self._children}

    def _start(self, child: Child) -> None:
        child.start()
        self._selector.register(child.output, selectors.EVENT_READ, child)
        self._selector.register(child.pidfd, selectors.EVENT_READ, child)

    def _step(self, timeout: float) -> None:
        """Handle pending events, or the first ones within ``timeout`` seconds."""
        for key, _ in self._selector.select(timeout):
            child = key.data
            if key.fd == self._wakeup:
                self._count_signals()
            elif key.fd == self._keyboard:
                self._forward_keys()
            elif not child.running:
                # Its exit was in the same batch, and its output is read.
                pass
            elif key.fd == child.output:
                self._forward_output(child)
            else:
                self._finish(child)
                if not self._stop_reason:
                    self._on_exit(child)
        now = time.monotonic()
        for child in self._children:
            if not self._stop_reason and child.restart_at is not None and child.restart_at <= now:
                child.exit.restarts += 1
                self._start(child)

    def _until_restart(self) -> float:
        """Seconds until the next restart or pulse is due."""
        times = [child.restart_at for child in self._children if child.restart_at is not None]
        return min(_PULSE_PERIOD, max(0.0, min(times) - time.monotonic())) if times else _PULSE_PERIOD

    def _on_exit(self, child: Child) -> None:
        """Restart a process, give it up, or stop all of them."""
        process, status = child.process, child.exit.status
        if status == 0 and process.ends_all:
            child.finished = True
            if all(other.finished for other in self._children if other.process.ends_all):
                self._stop_reason = f"{process.label} is done"
            return
        text = f"ended with {status_text(status)}"
        wait = child.back_off()
        if process.restart and status != MISCONFIGURED and wait is not None:
            child.restart_at = time.monotonic() + wait
            self._event(process.label, f"{text}; restarts in {wait:g} s")
            return
        child.exit.gave_up = True
        self._event(process.label, f"{text}{'; it failed too often in a row' if wait is None else ''}")
        if process.critical or process.ends_all:
            self._stop_reason = f"the graph needs {process.label}"
        elif not any(other.running or other.restart_at is not None for other in self._children):
            self._stop_reason = "no process is left"

    def _stop(self, child: Child) -> None:
        """Interrupt a process and wait for its end; kill it after the time-out or a second signal."""
        if not child.running:
            return
        signals = self._signals
        child.signal(signal.SIGINT)
        end = time.monotonic() + STOP_TIMEOUT
        while child.running and (left := end - time.monotonic()) > 0 and self._signals == signals:
            self._step(left)
        if child.running:
            reason = "it did not stop in time" if self._signals == signals else "second request to stop"
            self._event(child.process.label, f"killed: {reason}")
            child.kill()
            self._finish(child)

    def _finish(self, child: Child) -> None:
        """Read the last lines and the status of a process that has ended; close its descriptors."""
        if not child.running:
            return
        child.exit.status = child.wait()
        self._forward_output(child)
        for line in child.partial_line():
            self._line(child, line)
        self._selector.unregister(child.output)
        self._selector.unregister(child.pidfd)
        child.close()

    def _forward_output(self, child: Child) -> None:
        for line in child.lines():
            self._line(child, line)

    def _line(self, child: Child, line: str) -> None:
        found = _LOG_LINE.match(line)
        level, text = found.groups() if found else ("", line)
        child.record(level, text)
        self._show(OutputLine(child.process.label, level, text))

    def _event(self, label: str, text: str) -> None:
        self._show(OutputLine(label, "EVENT", text))

    def _count_signals(self) -> None:
        with contextlib.suppress(BlockingIOError):
            self._signals += len(os.read(self._wakeup, 64))
        self._stop_reason = self._stop_reason or "by request"

    def _forward_keys(self) -> None:
        keys = os.read(self._keyboard, 1024)
        if not keys:
            self._selector.unregister(self._keyboard)
        for child in self._children:
            child.send_keys(keys)

    @contextlib.contextmanager
    def _reading_keys(self) -> Iterator[None]:
        """Read the standard input, if a process needs it."""
        if not any(child.process.keys for child in self._children):
            yield
            return
        self._keyboard = sys.stdin.fileno()
        before = termios.tcgetattr(self._keyboard) if os.isatty(self._keyboard) else None
        if before:
            # Key by key, without echo; Ctrl-C still stops.
            tty.setcbreak(self._keyboard)
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
        before = {number: signal.signal(number, _ignore) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
            signal.set_wakeup_fd(fd_before)
            os.close(write)
            os.close(self._wakeup)


def status_text(status: int | None) -> str:
    """Exit status of a process, or the name of its signal."""
    if status is not None and status < 0:
        return f"signal {signal.Signals(-status).name}"
    return f"status {status}"


def _ignore(number: int, frame: FrameType | None) -> None:
    """Leave the signal to the wake-up pipe."""
