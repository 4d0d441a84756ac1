"""ROS 2 parameter files: values for nodes that are selected by name patterns.

Launch files read them on the system's Python, so this needs the standard library and PyYAML alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from rlt_ros.store.documents import DocumentError, read_yaml_file
from rlt_ros.store.parameters import ConfigError

Assignment = tuple[str, str, Any]
"""Pattern of nodes, name of a parameter with dots, and its value."""


def read_parameters(path: Path) -> list[Assignment]:
    """Read the values of a file in their order; later ones override earlier ones.

    Raises:
        ConfigError: the file cannot be read or has another structure.
    """
    try:
        document = read_yaml_file(path)
    except DocumentError as error:
        raise ConfigError(str(error)) from error
    return list(_nodes(document, "", path))


def values_for(assignments: Iterable[Assignment], node: str) -> dict[str, Any]:
    """Values for the node of full name ``node``, by name."""
    return {name: value for pattern, name, value in assignments if matches(pattern, node)}


def matches(pattern: str, node: str) -> bool:
    """Return whether ``pattern`` matches the full node name ``node``.

    ``*`` matches one part of the name, ``**`` any number of them.
    """
    absolute = pattern if pattern.startswith("/") else f"/{pattern}"
    parts = [re.escape(part) for part in absolute[1:].split("/")]
    expression = "".join({r"\*\*": r"(/[^/]+)*", r"\*": r"/[^/]+"}.get(part, f"/{part}") for part in parts)
    return re.fullmatch(expression, node) is not None


def _nodes(document: Any, prefix: str, path: Path) -> Iterator[Assignment]:
    if not isinstance(document, dict) or (prefix and not document):
        raise ConfigError(
            f"{path}: `{prefix or 'the file'}` has no `ros__parameters:` section; a ROS parameter file has NODE or "
            "`/**`, then `ros__parameters:`, then names and values"
        )
    for name, below in document.items():
        pattern = f"{prefix}/{str(name).strip('/')}"
        if isinstance(below, dict) and "ros__parameters" in below:
            if not isinstance(below["ros__parameters"], dict):
                raise ConfigError(f"{path}: ros__parameters of `{pattern}` must be names and values")
            yield from ((pattern, key, value) for key, value in _flat(below["ros__parameters"], ""))
        else:
            yield from _nodes(below, pattern, path)


def _flat(values: dict[Any, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
