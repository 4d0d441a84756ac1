"""Configuration dataclasses as ROS parameters: declared with help, unit, range and source, and built from what is set.

A field ``name`` of the section ``executor`` is the parameter ``executor.name``; a nested dataclass adds one more dot.
All are read-only: a node takes its settings when it starts, and what it does is what it was started with.
"""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

from rlt_ros.middleware import (
    InvalidParameterTypeException,
    InvalidParameterValueException,
    Node,
)
from rlt_ros.middleware.messages import FloatingPointRange, IntegerRange, ParameterDescriptor
from rlt_ros.rlt.parameters import ConfigError, Description, build, check, describe, parameter

T = TypeVar("T")

_SMALLEST_INT, _LARGEST_INT = -(2**63), 2**63 - 1  # of an INTEGER parameter


@dataclasses.dataclass(frozen=True)
class Setup:
    """What every node of a graph is told: for which robot and task, and with which frozen VLA."""

    robot: str = parameter(
        "agibot_g1_geniesim",
        help="Robot profile: a name from `config/robots/`, or the path of such a YAML file.",
    )
    task: str = parameter(
        "charger", help="Task: a name from `config/tasks/`, or the path of such a YAML file."
    )
    vla: str = parameter(
        "builtin",
        help="Frozen VLA and RL token: `builtin` for those that ship for the robot, a folder of weights, or "
        "KIND:WHERE[@CARD.yaml] with the kinds transformers, lerobot, openpi and go1.",
    )
    run_id: str = parameter(
        "",
        help="Id of the run: messages of this package carry it, and those of another run are dropped and counted. "
        "Empty takes the messages of every run; launchers make one.",
    )

    def __post_init__(self) -> None:
        check(self)


def declare(node: Node, section: str, cls: type[T]) -> T:
    """Declare every field of ``cls`` as a parameter of ``node`` and build the instance from their values.

    Args:
        node: whose parameters they become.
        section: prefix of the names, without the dot; empty for none.
        cls: dataclass whose fields are made with :func:`rlt_ros.rlt.parameters.parameter`.

    Raises:
        ConfigError: a value is of another type, out of range or missing; the message names the parameter.
    """
    prefix = f"{section}." if section else ""
    values: dict[str, Any] = {}
    for description in describe(cls):
        name = f"{prefix}{description.name}"
        try:
            default, descriptor = _default(description), _descriptor(description)
            value = node.declare_parameter(name, default, descriptor).value
        except (InvalidParameterTypeException, InvalidParameterValueException) as error:
            raise ConfigError(f"{node.get_name()}: {error} (allowed: {allowed(description)})") from error
        if value is not None:
            _put(values, description.name.split("."), _plain(value))
    origin = f"parameters of {node.get_name()}" + (f", section {section}" if section else "")
    return build(cls, values, origin=origin)


def allowed(description: Description) -> str:
    """Allowed values of a parameter, in words."""
    return description.range or description.type


def fields(cls: type) -> Iterator[tuple[str, Any]]:
    """(dotted name, type) of every field that is a parameter, nested ones too."""
    hints = typing.get_type_hints(cls)
    for field in dataclasses.fields(cls):
        hint = hints[field.name]
        if dataclasses.is_dataclass(hint):
            yield from ((f"{field.name}.{name}", kind) for name, kind in fields(typing.cast(type, hint)))
        else:
            yield field.name, hint


def _default(description: Description) -> Any:
    """The default as a parameter value; None where there is none: such a parameter takes a value of any type."""
    value = description.default
    if value is dataclasses.MISSING or value is None or value == ():
        return None
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, tuple):
        return [float(item) for item in value] if "float" in description.type else list(value)
    return float(value) if description.type == "float" else value


def _descriptor(description: Description) -> Any:
    unit = f" [{description.unit}]" if description.unit else ""
    source = f" Source: {description.source}." if description.source else ""
    result = ParameterDescriptor(
        description=f"{description.help}{unit}{source}",
        additional_constraints=description.range,
        read_only=True,
        # Without a default the type is not known to ROS; the dataclass checks it.
        dynamic_typing=_default(description) is None,
    )
    if description.low is None and description.high is None:
        return result
    low, high = description.low, description.high
    if description.type == "int":
        bounds = IntegerRange(
            from_value=_SMALLEST_INT if low is None else int(low),
            to_value=_LARGEST_INT if high is None else int(high),
        )
        result.integer_range = [bounds]
    elif description.type == "float":
        result.floating_point_range = [
            FloatingPointRange(
                from_value=float("-inf") if low is None else float(low),
                to_value=float("inf") if high is None else float(high),
            )
        ]
    return result


def _plain(value: Any) -> Any:
    """Arrays as lists; both implementations of the graph give sequences of their own kinds."""
    return value if isinstance(value, (bool, int, float, str)) else list(value)


def _put(values: dict[str, Any], path: list[str], value: Any) -> None:
    *above, last = path
    for name in above:
        values = values.setdefault(name, {})
    values[last] = value
