"""For the tests of nodes: a DDS domain of their own on this host, the test's own node, and nodes as real processes."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from own_graph import PATIENCE, graph

__all__ = ["graph"]


class Process:
    """Node in its own process: ``python -m rlt_ros.nodes.NAME``.

    Args:
        name: module of the node.
        log: file for what it prints.
        parameters: ROS parameters.
        arguments: further ROS arguments.
    """

    def __init__(self, name: str, log: Path, parameters: dict[str, Any], arguments: tuple[str, ...]) -> None:
        # JSON is YAML, so lists and strings arrive as they are.
        values = [text for key, value in parameters.items() for text in ("-p", f"{key}:={json.dumps(value)}")]
        self._log = log
        with log.open("ab") as file:
            self.process = subprocess.Popen(
                [sys.executable, "-m", f"rlt_ros.nodes.{name}", "--ros-args", *values, *arguments],
                stdout=file,
                stderr=file,
                cwd=Path(__file__).resolve().parents[2],
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
            )

    @property
    def log(self) -> str:
        """Output so far."""
        return self._log.read_text()

    def end(self, how: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal and return the exit status."""
        self.process.send_signal(how)
        return self.process.wait(PATIENCE)

    def close(self) -> None:
        """End it in any case."""
        self.process.terminate()
        try:
            self.process.wait(5.0)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


@pytest.fixture
def start_node(tmp_path: Path) -> Iterator[Callable[..., Process]]:
    """``start_node("sim_node", *ros_arguments, parameter=value, …)``; ends them after the test."""
    processes: list[Process] = []

    def start(name: str, *arguments: str, **parameters: Any) -> Process:
        log = tmp_path / f"{name}-{len(processes)}.log"
        processes.append(Process(name, log, parameters, arguments))
        return processes[-1]

    yield start
    for one in processes:
        one.close()
        print(f"--- {one.process.args}\n{one.log}")
