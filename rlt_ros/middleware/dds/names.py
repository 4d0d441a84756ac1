"""Names of nodes, namespaces and topics: validation and expansion to absolute names."""

from __future__ import annotations

import re

_TOKEN = r"[A-Za-z_][A-Za-z0-9_]*"
_NODE = re.compile(_TOKEN)
_ABSOLUTE = re.compile(f"(/{_TOKEN})+")


class NameValidationException(ValueError):
    """Invalid name in ROS 2."""


def valid_node_name(name: str) -> str:
    """Validate and return a node name."""
    if not _NODE.fullmatch(name):
        raise NameValidationException(f"node name `{name}` must be letters, digits and `_`, no digit first")
    return name


def valid_namespace(name: str) -> str:
    """Validate a namespace and return it as absolute; empty is the root."""
    absolute = name if name.startswith("/") else f"/{name}"
    if absolute != "/" and not _ABSOLUTE.fullmatch(absolute):
        raise NameValidationException(
            f"namespace `{name}` must be parts of letters, digits and `_` between `/`"
        )
    return absolute


def join(namespace: str, name: str) -> str:
    """Join a namespace and a name."""
    return f"{namespace.rstrip('/')}/{name}"


def expand(name: str, *, node: str, namespace: str) -> str:
    """Absolute topic name: ``~/x`` is below the node, ``x`` below its namespace, ``/x`` absolute.

    Raises:
        NameValidationException: the name is no topic name.
    """
    if name == "~" or name.startswith("~/"):
        absolute = join(namespace, node) + name[1:]
    else:
        absolute = name if name.startswith("/") else join(namespace, name)
    if not _ABSOLUTE.fullmatch(absolute):
        raise NameValidationException(
            f"topic name `{name}` (in full `{absolute}`) must be parts of letters, digits and `_` between `/`"
        )
    return absolute
