from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from rlt_ros.bringup import Arguments, NodeSpec, graph
from rlt_ros.bringup import supervisor as processes
from rlt_ros.bringup.child_process import Process
from rlt_ros.bringup.supervisor import OutputLine, Supervisor
from rlt_ros.cli.launch import command
from rlt_ros.store.parameters import ConfigError

ROOT = Path(__file__).resolve().parents[1]
# s; a busy machine may take this long for work of milliseconds.
TIMEOUT = 120.0

UNTIL_INTERRUPTED = """
import time
print("ready")
try:
    time.sleep(600)
except KeyboardInterrupt:
    print("bye")
"""
DEAF = "import signal, time; signal.signal(signal.SIGINT, signal.SIG_IGN); print('ready'); time.sleep(600)"


def python(label: str, source: str, **options: object) -> Process:
    return Process(label, [sys.executable, "-c", source], **options)  # type: ignore[arg-type]


class Run:
    """Run of processes and its lines; `on` maps a text to the action on a line that contains it."""

    def __init__(self, *processes: Process, on: dict[str, Callable[[], None]] | None = None) -> None:
        self.lines: list[OutputLine] = []
        self._on = on or {}
        order = [process.label for process in processes]
        self.exits = Supervisor(processes, stop_order=order, show=self._show).run()

    def _show(self, line: OutputLine) -> None:
        self.lines.append(line)
        for text, action in list(self._on.items()):
            if text in line.text:
                action()

    def texts(self, label: str) -> list[str]:
        return [line.text for line in self.lines if line.label == label]


def interrupt() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def after(count: int, action: Callable[[], None]) -> Callable[[], None]:
    """Call ``action`` at the ``count``-th call."""
    calls = iter(range(1, 1000))
    return lambda: action() if next(calls) == count else None


def test_one_interrupt_stops_all_in_order() -> None:
    names = ("first", "second", "third")
    run = Run(*(python(name, UNTIL_INTERRUPTED) for name in names), on={"ready": after(3, interrupt)})
    assert [line.label for line in run.lines if line.text == "bye"] == list(names)
    assert {one.status for one in run.exits.values()} == {0}
    assert not any(one.gave_up for one in run.exits.values())


def test_a_second_interrupt_kills_a_process_that_ignores_the_first() -> None:
    run = Run(python("deaf", DEAF), on={"ready": interrupt, "stopping": interrupt})
    assert run.exits["deaf"].status == -signal.SIGKILL
    assert run.texts("deaf")[-1] == "killed: second request to stop"


def test_one_that_finishes_ends_the_others() -> None:
    run = Run(
        python("plan", "print('done')", ends_all=True, restart=True), python("other", UNTIL_INTERRUPTED)
    )
    assert run.exits["plan"].status == 0
    assert run.exits["plan"].restarts == 0
    assert not run.exits["other"].gave_up


def test_all_that_end_the_others_must_be_finished() -> None:
    run = Run(
        python("left", "print('first')", ends_all=True),
        python("right", "import time; time.sleep(0.3); print('second')", ends_all=True),
    )
    assert (run.texts("left"), run.texts("right")) == (["first"], ["second"])


def test_a_crash_is_reported_and_the_process_restarted(tmp_path: Path) -> None:
    marker = tmp_path / "second"
    source = f"""
import os, pathlib, signal
marker = pathlib.Path({str(marker)!r})
if marker.exists():
    print("alive again")
    raise SystemExit(0)
marker.touch()
os.kill(os.getpid(), signal.SIGKILL)
"""
    run = Run(python("learner", source, restart=True, ends_all=True))
    assert run.exits["learner"].restarts == 1
    assert run.texts("learner") == ["ended with signal SIGKILL; restarts in 0.5 s", "alive again"]


def test_a_wrong_configuration_is_not_restarted() -> None:
    run = Run(python("executor", "raise SystemExit(2)", restart=True, critical=True))
    assert run.exits["executor"].gave_up
    assert run.exits["executor"].restarts == 0


def test_without_a_critical_one_the_others_stop() -> None:
    run = Run(python("robot", "raise SystemExit(1)", critical=True), python("other", UNTIL_INTERRUPTED))
    assert run.exits["robot"].gave_up
    assert run.exits["other"].status is not None


def test_the_others_continue_without_one_that_is_not_critical() -> None:
    gone = {"ended with status 1": interrupt}
    run = Run(python("view", "raise SystemExit(1)"), python("other", UNTIL_INTERRUPTED), on=gone)
    assert run.exits["view"].gave_up
    assert run.texts("") == ["stopping: by request"]
    assert not run.exits["other"].gave_up


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("print('[FATAL] [1.0] [executor_node]: no such robot'); raise SystemExit(2)", "no such robot"),
        (
            "raise OSError('libgomp.so.1: cannot open shared object file')",
            "OSError: libgomp.so.1: cannot open",
        ),
        (
            "print('[FATAL] [1.0] [a]: Traceback (most recent):\\n  File x\\nKeyError: 3'); raise SystemExit(1)",
            "KeyError: 3",
        ),
    ],
)
def test_the_reason_of_a_process_that_gave_up_is_kept(source: str, words: str) -> None:
    run = Run(python("executor", source, critical=True))
    assert run.exits["executor"].gave_up
    assert run.exits["executor"].last_words.startswith(words)


def test_log_lines_lose_the_name_that_the_label_has() -> None:
    source = "print('[WARN] [12.5] [left.executor_node]: limit'); print('plain', end='')"
    run = Run(python("executor", source, ends_all=True))
    assert run.lines[:2] == [OutputLine("executor", "WARN", "limit"), OutputLine("executor", "", "plain")]


def test_children_do_not_outlive_a_launcher_that_is_killed(tmp_path: Path) -> None:
    source = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
from rlt_ros.bringup.child_process import Process
from rlt_ros.bringup.supervisor import Supervisor
child = Process("child", [sys.executable, "-c", "import os, time; print(os.getpid()); time.sleep(600)"])
Supervisor([child], stop_order=[], show=lambda line: print(line.text, flush=True)).run()
"""
    launcher = subprocess.Popen([sys.executable, "-c", source], stdout=subprocess.PIPE, text=True)
    assert launcher.stdout is not None
    pid = int(launcher.stdout.readline())
    descriptor = os.pidfd_open(pid)
    launcher.kill()
    launcher.wait()
    end = time.monotonic() + TIMEOUT
    with contextlib.closing(launcher.stdout):
        import select

        ready, _, _ = select.select([descriptor], [], [], end - time.monotonic())
    os.close(descriptor)
    assert ready, "the child outlived its launcher"


def test_the_pulse_is_called_while_processes_print_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "_PULSE_PERIOD", 0.01)
    pulses = []

    def pulse() -> None:
        pulses.append(0)
        if len(pulses) == 3:
            interrupt()

    Supervisor([python("a", UNTIL_INTERRUPTED)], stop_order=[], show=lambda line: None, pulse=pulse).run()
    assert len(pulses) >= 3


def test_keys_reach_the_process_that_reads_them(monkeypatch: pytest.MonkeyPatch) -> None:
    read, write = os.pipe()
    os.write(write, b"yn")
    os.close(write)
    with open(read) as keyboard:
        monkeypatch.setattr(sys, "stdin", keyboard)
        run = Run(
            python("teleop", "print(input())", ends_all=True, keys=True), python("other", UNTIL_INTERRUPTED)
        )
    assert run.texts("teleop") == ["yn"]


def test_a_node_is_a_python_process_with_ros_arguments() -> None:
    (sim,) = graph("sim", Arguments(namespace="left", teleop="scripted"))
    line = command(sim)
    assert line[:4] == [sys.executable, "-m", "rlt_ros.nodes.start", "sim_node"]
    assert line[4] == "--ros-args"
    assert "__ns:=/left" in line
    assert 'operator:="scripted"' in line
    assert 'task:="charger"' in line


def test_a_program_of_ros_needs_ros(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ConfigError, match=r"rviz2.*not sourced"):
        command(NodeSpec("rviz2", "rviz", package="rviz2"))


def test_a_restarted_process_knows_its_predecessor() -> None:
    source = "import os; print('pid', os.getpid(), os.environ.get('RLT_ROS_PREDECESSOR')); os._exit(1)"
    run = Run(python("dies", source, restart=True), on={"pid": after(2, interrupt)})
    (_, first, of_first), (_, _, of_second) = (text.split() for text in run.texts("dies") if "pid" in text)
    assert (of_first, of_second) == ("None", first)
