"""Names of nodes, namespaces and topics: what is allowed, and how relative ones become absolute."""

from __future__ import annotations

import re

_TOKEN = r"[A-Za-z_][A-Za-z0-9_]*"
_NODE = re.compile(_TOKEN)
_ABSOLUTE = re.compile(f"(/{_TOKEN})+")


class NameValidationException(ValueError):
    """A name that ROS 2 does not allow."""


def valid_node_name(name: str) -> str:
    """``name``, if it is one for a node."""
    if not _NODE.fullmatch(name):
        raise NameValidationException(f"node name `{name}` must be letters, digits and `_`, no digit first")
    return name


def valid_namespace(name: str) -> str:
    """``name`` as an absolute namespace; empty is the root."""
    absolute = name if name.startswith("/") else f"/{name}"
    if absolute != "/" and not _ABSOLUTE.fullmatch(absolute):
        raise NameValidationException(
            f"namespace `{name}` must be parts of letters, digits and `_` between `/`"
        )
    return absolute


def join(namespace: str, name: str) -> str:
    """``name`` below ``namespace``."""
    return f"{namespace.rstrip('/')}/{name}"


def expand(name: str, *, node: str, namespace: str) -> str:
    """The absolute name: ``~/x`` is below the node, ``x`` below its namespace, ``/x`` as it is.

    Raises:
        NameValidationException: it is not a name for a topic.
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
