"""Host and process of each node in the graph, as far as discovery shows them.

Cyclone DDS announces host and process of each participant; rclpy has no call for them, so there only names are known.
"""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from typing import Any

from rlt_ros.middleware.choice import IMPLEMENTATION


@dataclass(frozen=True)
class Presence:
    """A node that discovery shows.

    Attributes:
        node: full name; empty where its process does not publish it.
        host: name of its host; empty where unknown.
        pid: of its process; 0 where unknown.
    """

    node: str
    host: str = ""
    pid: int = 0

    def __str__(self) -> str:
        name = self.node or "a node without name"
        return f"{name} (process {self.pid} on {self.host})" if self.pid else name

    @property
    def seems_dead(self) -> bool:
        """Return whether its process is of this host and has ended; false where unknown.

        A container may share the host's name and not its processes, so this alone proves nothing.
        """
        if not self.pid or self.host != socket.gethostname():
            return False
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        except PermissionError:
            return False
        return False


def observer_node(name: str) -> Any:
    """A node that only looks at discovery: under the process's rules for all but its name, without log and services.

    An access control policy names each node's services, so one with a name of its own must offer none.
    """
    from rlt_ros.middleware import Node, Parameter

    options: dict[str, Any] = {"cli_args": ["--ros-args", "-r", f"__node:={name}"], "enable_rosout": False}
    if IMPLEMENTATION == "rclpy":
        described = Parameter("start_type_description_service", value=False)
        options.update(start_parameter_services=False, parameter_overrides=[described])
    return Node(name, **options)


def nodes_named(node: Any, full_name: str) -> list[Presence]:
    """Nodes of one full name in the graph of ``node``."""
    return [one for one in _nodes(node) if one.node == full_name]


def publishers_of(node: Any, topic: str) -> list[Presence]:
    """Nodes that publish a topic of absolute name in the graph of ``node``, one for each publisher."""
    if IMPLEMENTATION == "dds":
        from rlt_ros.middleware.dds.context import default_context

        return [Presence(*found) for found in default_context().graph.publishing(topic)]
    infos = node.get_publishers_info_by_topic(topic)
    return [Presence(_joined(info.node_namespace, info.node_name)) for info in infos]


def _nodes(node: Any) -> list[Presence]:
    if IMPLEMENTATION == "dds":
        from rlt_ros.middleware.dds.context import default_context

        return [Presence(*found) for found in default_context().graph.located_nodes()]
    names = node.get_node_names_and_namespaces()
    return [Presence(_joined(namespace, name)) for name, namespace in names]


def _joined(namespace: str, name: str) -> str:
    return f"{namespace.rstrip('/')}/{name}"
