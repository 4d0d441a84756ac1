"""Check of a ROS parameter file against the parameters of the nodes of a graph, before any node starts."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from rlt_ros.bringup import ORDER, NodeSpec
from rlt_ros.ros.settings import SETTINGS
from rlt_ros.store.parameter_file import Assignment, values_for
from rlt_ros.store.parameters import (
    ConfigError,
    Description,
    build,
    describe,
    did_you_mean,
    nested,
    plain_default,
)

_SWITCHES = ("use_sim_time", "autostart", "start_type_description_service")
"""Boolean parameters of ROS and of lifecycle nodes, in addition to the settings."""

_OF_ROS = (*_SWITCHES, "qos_overrides")
_EVERY_NODE = ("*", "**")
_MIN_SIMILARITY = 0.8
"""Similarity (difflib) from which an unknown name for all nodes counts as misspelt."""


def check_parameters(path: Path, assignments: Sequence[Assignment], specs: Sequence[NodeSpec]) -> None:
    """Check names and values of a parameter file.

    Nodes of other packages, and unknown parameters for all nodes, are not checked.

    Args:
        path: path of the file, for the message.
        assignments: contents of the file.
        specs: nodes that start with it.

    Raises:
        ConfigError: the name of a node or parameter is unknown, or a value is not allowed.
    """
    for pattern, name, value in assignments:
        _check_name(path, pattern, name)
        if name in _SWITCHES and not isinstance(value, bool):
            raise ConfigError(f"{path}: `{name}` is {value!r}; it must be true or false")
    for spec in specs:
        if spec.package == "rlt_ros":
            # Values of the launch override those of the file, which are checked as well.
            _check_values(path, {**spec.parameters, **values_for(assignments, spec.full_name)}, spec)


def _check_name(path: Path, pattern: str, name: str) -> None:
    node = pattern.rpartition("/")[2]
    if node in ORDER:
        if not _has(node, name):
            hint = did_you_mean(name, _names(node))
            raise ConfigError(
                f"{path}: {node} has no parameter `{name}`; {hint}docs/reference/nodes.md lists all of them"
            )
    elif node in _EVERY_NODE:
        names = [name for one in ORDER for name in _names(one)]
        close = difflib.get_close_matches(name, names, n=1, cutoff=_MIN_SIMILARITY)
        if close and not any(_has(one, name) for one in ORDER):
            raise ConfigError(f"{path}: no node has the parameter `{name}`; did you mean `{close[0]}`?")
    elif hint := did_you_mean(node, ORDER):
        raise ConfigError(f"{path}: there is no node `{node}`; {hint}nodes: {', '.join(ORDER)}")


def _has(node: str, name: str) -> bool:
    """Return True if the node has the parameter or its section; `build` reports unknown names of a section."""
    group = name.partition(".")[0]
    sections = {section for section, _ in SETTINGS[node] if section}
    return name in _names(node) or group in sections or group in _OF_ROS


def _names(node: str) -> list[str]:
    return [name for section, cls in SETTINGS[node] for name, _ in _described(section, cls)]


def _described(section: str, cls: type) -> Iterator[tuple[str, Description]]:
    """Full parameter names of a section, and their declarations."""
    for description in describe(cls):
        yield (f"{section}.{description.name}" if section else description.name), description


def _check_values(path: Path, given: dict[str, Any], spec: NodeSpec) -> None:
    """Build every group of settings from the values for the node."""
    for section, cls in SETTINGS[spec.executable]:
        known = dict(_described(section, cls))
        own = {name for name in given if section and name.startswith(f"{section}.")} | (
            known.keys() & given.keys()
        )
        for name in own & known.keys():
            _check_type(path, spec, name, given[name], known[name])
        skip = len(section) + 1 if section else 0
        values = nested({name[skip:]: given[name] for name in sorted(own)})
        build(cls, values, origin=f"{path}: {spec.name}" + (f", section {section}" if section else ""))


def _check_type(path: Path, spec: NodeSpec, name: str, value: Any, description: Description) -> None:
    """Check that a value has the type of the default, as ROS requires: 1 is an integer, 1.0 a float."""
    default = plain_default(description)
    if default is None or _type(value) == _type(default):
        return
    remedy = f"write {float(value)}" if type(value) is int and type(default) is float else ""
    raise ConfigError(
        f"{path}: {spec.name}: `{name}` is {value!r} ({type(value).__name__}); "
        f"{remedy or f'it must have the type of its default, {default!r}'}"
    )


def _type(value: Any) -> tuple[type, ...]:
    """Type of a value; of a list with the types of its items."""
    return (list, *{type(item) for item in value}) if isinstance(value, list) else (type(value),)
