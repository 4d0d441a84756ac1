"""Ctrl-C and SIGTERM at any moment of a training: status 130, no traceback, and the same command continues."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from rlt_ros.bench.domain import reserve_domain

ROOT = Path(__file__).resolve().parents[1]
STOPPED = re.compile(r"stopped after \d+\.\d of 0\.2 robot minutes; the same command continues")
SMALL = {"warmup_episodes": 1, "warmup_updates": 20, "min_rows": 64, "utd": 0.5}

Action = signal.Signals | str
"""Signal for the command, or the name of a node that is killed just before the next action."""

LAUNCH: tuple[tuple[str, tuple[Action, ...]], ...] = (
    # Moment, as a line shows it; actions.
    ("starting 8 nodes", (signal.SIGINT,)),
    ("phase 1 of 3", ("executor_node", signal.SIGINT)),
    (r"VLA \(warm-up\)", (signal.SIGINT, signal.SIGINT)),
    ("phase 3 of 3", (signal.SIGTERM,)),
    ("comparing with the demonstrator", (signal.SIGINT,)),
)
TRAIN: tuple[tuple[str, tuple[Action, ...]], ...] = (
    ("phase 1 of 4", (signal.SIGINT,)),
    ("phase 2 of 4", (signal.SIGTERM,)),
    ("phase 3 of 4: learning", (signal.SIGINT,)),
    ("phase 4 of 4", (signal.SIGINT,)),
    ("filming", (signal.SIGINT,)),
)


def kill_node(parent: int, name: str) -> None:
    """Kill the process of a node that ``parent`` has started."""
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    (node,) = (child for child in children if name.encode() in Path(f"/proc/{child}/cmdline").read_bytes())
    os.kill(int(node), signal.SIGKILL)


def run(command: list[str], moment: str = "", actions: tuple[Action, ...] = ()) -> tuple[int, list[str]]:
    """Run a command, act when a line matches, and return status and lines."""
    # A shell's background, and so perhaps pytest's, ignores SIGINT, which children would inherit.
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        bufsize=1,
        env={**os.environ, "ROS_DOMAIN_ID": str(reserve_domain()), "OMP_NUM_THREADS": "1"},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    assert process.stdout is not None
    lines, pending = [], list(actions)
    with process.stdout:
        for line in process.stdout:
            lines.append(line.rstrip())
            # Further signals follow once the first has been answered.
            if pending and re.search(moment if len(pending) == len(actions) else "stopping", line):
                while isinstance(pending[0], str):
                    kill_node(process.pid, pending.pop(0))
                process.send_signal(pending.pop(0))
    status = process.wait()
    assert not pending, "\n".join(lines)
    return status, lines


def require_continuable(
    command: list[str], moments: tuple[tuple[str, tuple[Action, ...]], ...], folder: Path
) -> None:
    wall = 0.0
    for moment, actions in moments:
        status, lines = run(command, moment, actions)
        text = "\n".join(lines)
        assert status == 130, text
        assert not re.search("Traceback|KeyboardInterrupt", text), text
        assert STOPPED.fullmatch(lines[-1]), text
        assert not (folder / "summary.json").exists()
        seconds = float((folder / "wall_seconds").read_text())
        assert seconds > wall
        wall = seconds
    status, lines = run(command)
    assert status == 0, "\n".join(lines)
    assert lines[-1] == str(folder / "report.html")
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["wall_seconds"] > wall
    before = (folder / "wall_seconds").read_text(), (folder / "report.html").stat().st_mtime_ns
    status, again = run(command)
    assert (status, again[-1]) == (0, lines[-1])
    assert ((folder / "wall_seconds").read_text(), (folder / "report.html").stat().st_mtime_ns) == before
    records = [json.loads(line) for line in (folder / "episodes.jsonl").read_text().splitlines()]
    trained = [record["episode"] for record in records if record["phase"] in ("warmup", "online")]
    assert trained == sorted(set(trained)) and trained[-1] < 100
    assert sum(record["phase"] == "demo" for record in records) == 1


def test_a_graph_that_is_stopped_at_any_moment_continues(tmp_path: Path) -> None:
    parameters = tmp_path / "small.yaml"
    parameters.write_text(json.dumps({"/**": {"ros__parameters": {"rlt": SMALL}}}))
    folder = tmp_path / "run"
    arguments = {
        "robot-minutes": "0.2",
        "eval-episodes": "1",
        "params-file": str(parameters),
        "out": str(folder),
    }
    command = [sys.executable, "-m", "rlt_ros.cli.main", "launch", "train"]
    require_continuable(
        [*command, *(f"--{name}={value}" for name, value in arguments.items())], LAUNCH, folder
    )


def test_a_training_in_one_process_that_is_stopped_at_any_moment_continues(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    small = [word for name, value in SMALL.items() for word in ("--set", f"rlt.{name}={value}")]
    command = [
        sys.executable,
        "-m",
        "rlt_ros.cli.main",
        "train",
        "--robot-minutes",
        "0.2",
        "--eval-episodes",
        "1",
    ]
    require_continuable([*command, *small, "--out", str(folder)], TRAIN, folder)


@pytest.mark.parametrize("command", [["launch", "train", "--out", "x"], ["train", "--out", "x"], ["--help"]])
def test_an_interrupt_while_the_command_line_loads_is_silent(command: list[str], tmp_path: Path) -> None:
    """The signal is there before the first module of the command line is loaded."""
    source = (
        "import os, signal, sys\n"
        "from rlt_ros.cli import main as program\n"
        "import builtins\n"
        "real = builtins.__import__\n"
        "def load(name, *rest, **options):\n"
        "    if name == 'rlt_ros.cli.parser':\n"
        "        os.kill(os.getpid(), signal.SIGINT)\n"
        "    return real(name, *rest, **options)\n"
        "builtins.__import__ = load\n"
        f"sys.argv[1:] = {command!r}\n"
        "sys.exit(program.main())"
    )
    done = subprocess.run([sys.executable, "-c", source], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr, done.stdout) == (130, "interrupted\n", "")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_node_that_is_stopped_while_it_imports_prints_nothing(number: signal.Signals) -> None:
    """Start of a node as by the launcher: signals are blocked until there are handlers, so one may come at any time."""
    process = subprocess.Popen(
        [sys.executable, "-m", "rlt_ros.nodes.start", "learner_node"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        preexec_fn=lambda: signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM)),
    )
    process.send_signal(number)
    output, _ = process.communicate()
    assert (process.returncode, output) == (0, b"")


def test_a_node_whose_library_is_missing_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text("raise ImportError('libgomp.so.1: cannot open shared object file')")
    done = subprocess.run(
        [sys.executable, "-m", "rlt_ros.nodes.start", "learner_node"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": f"{tmp_path}:{ROOT}"},
    )
    assert done.returncode == 2
    assert done.stderr == "learner_node cannot be loaded: libgomp.so.1: cannot open shared object file\n"
