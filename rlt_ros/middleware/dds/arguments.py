"""ROS arguments of a command line, after ``--ros-args``: remappings, parameters, log level."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rlt_ros.middleware.dds.names import expand
from rlt_ros.store.documents import DocumentError, parse_yaml
from rlt_ros.store.parameter_file import Assignment, read_parameters, values_for
from rlt_ros.store.parameters import ConfigError


class UnknownROSArgsError(ValueError):
    """Unknown or malformed argument after ``--ros-args``."""


@dataclass(frozen=True)
class Remapping:
    """Rule ``[node:]old:=new``; an empty `node` means every node."""

    node: str
    old: str
    new: str


@dataclass
class RosArguments:
    """ROS arguments of a process or a node.

    Attributes:
        remappings: rules, of which the first match applies.
        parameters: (node pattern, name, value), later ones override earlier ones.
        log_level: name, or empty.
    """

    remappings: list[Remapping] = field(default_factory=list)
    parameters: list[tuple[str, str, Any]] = field(default_factory=list)
    log_level: str = ""

    def special(self, key: str, node: str) -> str | None:
        """New value of ``__node`` or ``__ns`` for the node of original name ``node``, or None."""
        return next((r.new for r in self.remappings if r.old == key and r.node in ("", node)), None)

    def remapped(self, topic: str, *, node: str, namespace: str) -> str:
        """Absolute topic name after remapping."""
        for rule in self.remappings:
            if rule.old.startswith("__") or rule.node not in ("", node):
                continue
            if expand(rule.old, node=node, namespace=namespace) == topic:
                return expand(rule.new, node=node, namespace=namespace)
        return topic

    def overrides(self, node: str) -> dict[str, Any]:
        """Parameter values for the node of full name ``node``."""
        return values_for(self.parameters, node)


def parse(argv: Sequence[str]) -> RosArguments:
    """Parse the ROS arguments among ``argv``; others are ignored.

    Raises:
        UnknownROSArgsError: an argument is unknown or malformed; the message shows it.
    """
    result, files, rest = RosArguments(), [], list(_ros_arguments(argv))
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
            files += _of_file(Path(value))
        else:
            result.log_level = value
    result.parameters = files + result.parameters
    return result


_OPTIONS = ("-r", "--remap", "-p", "--param", "--params-file", "--log-level")


def _of_file(path: Path) -> list[Assignment]:
    try:
        return read_parameters(path)
    except ConfigError as error:
        raise UnknownROSArgsError(str(error)) from error


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
