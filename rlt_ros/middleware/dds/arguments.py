"""What follows ``--ros-args`` on a command line: remappings, parameters, the log level."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rlt_ros.middleware.dds.names import expand, matches
from rlt_ros.rlt.documents import DocumentError, parse_yaml, read_yaml_file


class UnknownROSArgsError(ValueError):
    """Something after ``--ros-args`` that nothing here understands."""


@dataclass(frozen=True)
class Remapping:
    """``[node:]old:=new``; `node` is empty where it holds for every node."""

    node: str
    old: str
    new: str


@dataclass
class Arguments:
    """ROS arguments of a process or a node.

    Attributes:
        remappings: first come, first served.
        parameters: (node pattern, name, value), later ones win.
        log_level: name, empty where none was given.
    """

    remappings: list[Remapping] = field(default_factory=list)
    parameters: list[tuple[str, str, Any]] = field(default_factory=list)
    log_level: str = ""

    def special(self, key: str, node: str) -> str | None:
        """What replaces ``__node`` or ``__ns`` of the node that calls itself ``node``."""
        return next((r.new for r in self.remappings if r.old == key and r.node in ("", node)), None)

    def remapped(self, topic: str, *, node: str, namespace: str) -> str:
        """The absolute topic name after remapping."""
        for rule in self.remappings:
            if rule.old.startswith("__") or rule.node not in ("", node):
                continue
            if expand(rule.old, node=node, namespace=namespace) == topic:
                return expand(rule.new, node=node, namespace=namespace)
        return topic

    def overrides(self, node: str) -> dict[str, Any]:
        """Parameter values for the node of full name ``node``."""
        return {name: value for pattern, name, value in self.parameters if matches(pattern, node)}


def parse(argv: Sequence[str]) -> Arguments:
    """Read the ROS arguments among ``argv``; the others are left alone.

    Raises:
        UnknownROSArgsError: an argument is unknown or malformed; the message shows it.
    """
    result, files, rest = Arguments(), [], list(_ros_arguments(argv))
    while rest:
        option = rest.pop(0)
        if option in ("--enable-rosout-logs", "--enable-stdout-logs"):
            continue
        if option not in _OPTIONS:
            raise UnknownROSArgsError(
                f"`{option}` after --ros-args is unknown; allowed: {', '.join(_OPTIONS)}"
            )
        if not rest:
            raise UnknownROSArgsError(f"`{option}` needs a value after it")
        value = rest.pop(0)
        if option in ("-r", "--remap"):
            result.remappings.append(_remapping(value))
        elif option in ("-p", "--param"):
            result.parameters.append(_assignment(value))
        elif option == "--params-file":
            files += list(read_parameters(Path(value)))
        else:
            result.log_level = value
    result.parameters = files + result.parameters
    return result


_OPTIONS = ("-r", "--remap", "-p", "--param", "--params-file", "--log-level")


def read_parameters(path: Path) -> Iterator[tuple[str, str, Any]]:
    """(node pattern, name, value) of each parameter in a ROS 2 parameter file.

    Raises:
        UnknownROSArgsError: the file cannot be read or is of another shape.
    """
    try:
        document = read_yaml_file(path)
    except DocumentError as error:
        raise UnknownROSArgsError(str(error)) from error
    yield from _nodes(document, "", path)


def _ros_arguments(argv: Sequence[str]) -> Iterator[str]:
    inside = False
    for argument in argv:
        if argument in ("--ros-args", "--"):
            inside = argument == "--ros-args"
        elif inside:
            yield argument


def _remapping(text: str) -> Remapping:
    old, separator, new = text.partition(":=")
    if not (separator and old and new):
        raise UnknownROSArgsError(f"remapping `{text}` must be OLD:=NEW or NODE:OLD:=NEW")
    node, _, name = old.rpartition(":")
    return Remapping(node, name, new)


def _assignment(text: str) -> tuple[str, str, Any]:
    old, separator, value = text.partition(":=")
    node, _, name = old.rpartition(":")
    if not (separator and name):
        raise UnknownROSArgsError(f"parameter `{text}` must be NAME:=VALUE or NODE:NAME:=VALUE")
    try:
        return f"/**/{node}" if node else "/**", name, parse_yaml(value, origin=f"parameter `{text}`")
    except DocumentError as error:
        raise UnknownROSArgsError(str(error)) from error


def _nodes(document: Any, prefix: str, path: Path) -> Iterator[tuple[str, str, Any]]:
    if not isinstance(document, dict):
        raise UnknownROSArgsError(
            f"{path}: `{prefix or 'the file'}` must be NODE: {{ros__parameters: {{…}}}}"
        )
    for name, below in document.items():
        pattern = f"{prefix}/{str(name).strip('/')}"
        if isinstance(below, dict) and "ros__parameters" in below:
            if not isinstance(below["ros__parameters"], dict):
                raise UnknownROSArgsError(f"{path}: ros__parameters of `{pattern}` must be names and values")
            yield from ((pattern, key, value) for key, value in _flat(below["ros__parameters"], ""))
        else:
            yield from _nodes(below, pattern, path)


def _flat(values: dict[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
