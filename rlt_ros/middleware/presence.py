"""Host and process of each node in the graph, from discovery.

Cyclone DDS publishes host and process of each participant; rclpy has no API for them, so there only names are known.
"""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from typing import Any

from rlt_ros.middleware.choice import IMPLEMENTATION


@dataclass(frozen=True)
class Presence:
    """Discovered node.

    Attributes:
        node: full name; empty if its process does not publish it.
        host: name of its host; empty if unknown.
        pid: id of its process; 0 if unknown.
    """

    node: str
    host: str = ""
    pid: int = 0

    def __str__(self) -> str:
        name = self.node or "a node without name"
        return f"{name} (process {self.pid} on {self.host})" if self.pid else name

    @property
    def seems_dead(self) -> bool:
        """True if its process was on this host and has ended; False if unknown.

        A container may share the host's name but not its processes, so this is no proof.
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
    """Create a node that only reads discovery, without log and services; all but its name follows the process's rules.

    An access control policy lists each node's services, so a node with another name must offer none.
    """
    from rlt_ros.middleware import Node, Parameter

    options: dict[str, Any] = {"cli_args": ["--ros-args", "-r", f"__node:={name}"], "enable_rosout": False}
    if IMPLEMENTATION == "rclpy":
        described = Parameter("start_type_description_service", value=False)
        options.update(start_parameter_services=False, parameter_overrides=[described])
    return Node(name, **options)


def nodes_named(node: Any, full_name: str) -> list[Presence]:
    """Nodes with a full name in the graph of ``node``."""
    return [found for found in _nodes(node) if found.node == full_name]


def publishers_of(node: Any, topic: str) -> list[Presence]:
    """Nodes that publish the absolute ``topic`` in the graph of ``node``, one per publisher."""
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
