"""Processes of the graph, and the order of their stop."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ORDER = tuple(
    f"{name}_node"
    for name in (
        "perception",
        "inference",
        "executor",
        "episode",
        "teleop",
        "replay",
        "bag",
        "learner",
        "monitor",
        "record",
        "sim",
    )
)
"""All nodes of this package, in the direction of the data."""

MISCONFIGURED = 2
"""Exit status of a node with a wrong configuration, which a restart would not mend."""


class LaunchError(Exception):
    """Failure of a launched graph."""


@dataclass(frozen=True)
class NodeSpec:
    """One process of the graph.

    Attributes:
        package: ROS package; nodes of ``rlt_ros`` also run without ROS 2, as ``python -m rlt_ros.nodes.EXECUTABLE``.
        executable: of ``ros2 run PACKAGE``.
        name: of the node.
        namespace: without leading and trailing slashes; empty for the root.
        parameters: values that replace the node's defaults.
        params_file: ROS parameter file, with lower precedence than ``parameters``; empty for none.
        remappings: (old, new) topic names.
        arguments: command line before the ROS arguments.
        restart: restart it when it dies.
        critical: stop the graph when it cannot be restarted.
        ends_graph: stop the graph when all processes with this flag have finished.
        keys: it reads the keys of the terminal.
        files: path → text of files that it reads, written at launch.
    """

    executable: str
    name: str
    package: str = "rlt_ros"
    namespace: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    params_file: str = ""
    remappings: tuple[tuple[str, str], ...] = ()
    arguments: tuple[str, ...] = ()
    restart: bool = True
    critical: bool = False
    ends_graph: bool = False
    keys: bool = False
    files: Mapping[str, str] = field(default_factory=dict)

    def write_files(self) -> None:
        """Write the files that the process reads, before its start."""
        for name, text in self.files.items():
            path = Path(name)
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")

    @property
    def label(self) -> str:
        """Short name for display, unique in the graph."""
        short = self.name.removesuffix("_node")
        return f"{self.namespace}/{short}" if self.namespace else short

    @property
    def full_name(self) -> str:
        """Name of the node with its namespace."""
        return f"/{self.namespace}/{self.name}" if self.namespace else f"/{self.name}"

    def command_line(self) -> list[str]:
        """Command line after the name of the program."""
        rules = [*self.remappings, *([("__ns", f"/{self.namespace}")] if self.namespace else [])]
        arguments = [item for old, new in (("__node", self.name), *rules) for item in ("-r", f"{old}:={new}")]
        if self.params_file:
            arguments += ["--params-file", self.params_file]
        # JSON is valid YAML, and distinguishes texts from other values.
        for name, value in self.parameters.items():
            arguments += ["-p", f"{name}:={json.dumps(value)}"]
        return [*self.arguments, "--ros-args", *arguments]


def simulates(specs: Sequence[NodeSpec]) -> bool:
    """Return whether a simulated robot is among the nodes."""
    return any(spec.executable == "sim_node" for spec in specs)


def stop_order(specs: list[NodeSpec]) -> list[NodeSpec]:
    """Nodes in the order of their stop: first those that move the arm, later those that store data."""
    order = ("episode", "teleop", "executor", "inference", "perception", "learner", "replay", "bag", "record")
    rank = {f"{name}_node": index for index, name in enumerate(order)}
    return sorted(specs, key=lambda spec: rank.get(spec.executable, len(order)))
