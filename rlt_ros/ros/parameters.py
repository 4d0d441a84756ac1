"""Configuration dataclasses as ROS parameters: declared with help, unit, range and source, and built from their values.

A field ``name`` of the section ``executor`` is the parameter ``executor.name``; a nested dataclass adds one more dot.
All are read-only: a node runs with the settings of its start.
"""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Iterator
from typing import Any, TypeVar

from rlt_ros.middleware import (
    InvalidParameterTypeException,
    InvalidParameterValueException,
    Node,
)
from rlt_ros.middleware.messages import FloatingPointRange, IntegerRange, ParameterDescriptor
from rlt_ros.store.parameters import ConfigError, Description, build, describe, nested, plain_default

T = TypeVar("T")

# Range of an INTEGER parameter.
_MIN_INT, _MAX_INT = -(2**63), 2**63 - 1


def declare(node: Node, section: str, cls: type[T]) -> T:
    """Declare every field of ``cls`` as a parameter of ``node`` and build the instance from their values.

    Args:
        node: owner of the parameters.
        section: prefix of the names, without the dot; empty for none.
        cls: dataclass whose fields are made with :func:`rlt_ros.store.parameters.parameter`.

    Raises:
        ConfigError: a value is of another type, out of range or missing; the message names the parameter.
    """
    prefix = f"{section}." if section else ""
    values: dict[str, Any] = {}
    for description in describe(cls):
        name = f"{prefix}{description.name}"
        try:
            default, descriptor = plain_default(description), _descriptor(description)
            value = node.declare_parameter(name, default, descriptor).value
        except (InvalidParameterTypeException, InvalidParameterValueException) as error:
            raise ConfigError(f"{node.get_name()}: {error} (allowed: {allowed(description)})") from error
        if value is not None:
            values[description.name] = _plain(value)
    origin = f"parameters of {node.get_name()}" + (f", section {section}" if section else "")
    return build(cls, nested(values), origin=origin)


def allowed(description: Description) -> str:
    """Allowed values of a parameter, as text."""
    return description.range or description.type


def fields(cls: type) -> Iterator[tuple[str, Any]]:
    """(dotted name, type) of every field, including nested ones."""
    hints = typing.get_type_hints(cls)
    for field in dataclasses.fields(cls):
        hint = hints[field.name]
        if dataclasses.is_dataclass(hint):
            yield from ((f"{field.name}.{name}", kind) for name, kind in fields(typing.cast(type, hint)))
        else:
            yield field.name, hint


def _descriptor(description: Description) -> Any:
    unit = f" [{description.unit}]" if description.unit else ""
    source = f" Source: {description.source}." if description.source else ""
    result = ParameterDescriptor(
        description=f"{description.help}{unit}{source}",
        additional_constraints=description.range,
        read_only=True,
        # Without a default ROS does not know the type; the dataclass checks it.
        dynamic_typing=plain_default(description) is None,
    )
    if description.low is None and description.high is None:
        return result
    low, high = description.low, description.high
    if description.type == "int":
        bounds = IntegerRange(
            from_value=_MIN_INT if low is None else int(low),
            to_value=_MAX_INT if high is None else int(high),
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
    """Value with arrays as lists; the two middlewares return different sequence types."""
    return value if isinstance(value, (bool, int, float, str)) else list(value)
