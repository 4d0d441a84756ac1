"""Processes of the graph, and the order in which they are stopped."""

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
"""All nodes of this package, along the way of the data."""

MISCONFIGURED = 2
"""Exit status of a node that starting it again would not help."""


@dataclass(frozen=True)
class NodeSpec:
    """One process of the graph.

    Attributes:
        package: ROS package; nodes of ``rlt_ros`` run without ROS 2 too, as ``python -m rlt_ros.nodes.EXECUTABLE``.
        executable: as ``ros2 run PACKAGE`` takes it.
        name: of the node.
        namespace: without slashes at the ends; empty for the root.
        parameters: values that replace the node's defaults.
        params_file: ROS parameter file that ``parameters`` win over; empty for none.
        remappings: (old, new) topic names.
        arguments: command line before the ROS arguments.
        restart: start it again when it dies.
        critical: stop the graph when it is gone for good.
        ends_graph: stop the graph when it, and every other one of which this is true, is finished.
        keys: it reads the keys of the terminal.
        files: path → text of the files that it reads, which are made at launch.
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
        """Write the files that the process reads, before it is started."""
        for name, text in self.files.items():
            path = Path(name)
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")

    @property
    def label(self) -> str:
        """Short and unique in the graph, for people."""
        short = self.name.removesuffix("_node")
        return f"{self.namespace}/{short}" if self.namespace else short

    @property
    def full_name(self) -> str:
        """Name of the node with its namespace."""
        return f"/{self.namespace}/{self.name}" if self.namespace else f"/{self.name}"

    def command_line(self) -> list[str]:
        """Command line after the name of the program."""
        rules = [*self.remappings, *([("__ns", f"/{self.namespace}")] if self.namespace else [])]
        words = [item for old, new in (("__node", self.name), *rules) for item in ("-r", f"{old}:={new}")]
        if self.params_file:
            words += ["--params-file", self.params_file]
        # JSON is YAML too, and leaves no doubt about what is text.
        for name, value in self.parameters.items():
            words += ["-p", f"{name}:={json.dumps(value)}"]
        return [*self.arguments, "--ros-args", *words]


def simulates(specs: Sequence[NodeSpec]) -> bool:
    """Return whether a simulated robot is among the nodes."""
    return any(spec.executable == "sim_node" for spec in specs)


def stop_order(specs: list[NodeSpec]) -> list[NodeSpec]:
    """The nodes in the order in which they are stopped: who moves the arm first, who keeps the data late."""
    order = ("episode", "teleop", "executor", "inference", "perception", "learner", "replay", "bag", "record")
    rank = {f"{name}_node": index for index, name in enumerate(order)}
    return sorted(specs, key=lambda spec: rank.get(spec.executable, len(order)))
