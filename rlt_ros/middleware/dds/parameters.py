"""Parameters of a node, with type, range and description, checked at start-up and on every change."""

from __future__ import annotations

import array
import enum
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rlt_ros.middleware.dds.message import message_class


class ParameterException(Exception):
    """Base class of parameter errors."""


class ParameterNotDeclaredException(ParameterException):
    """The parameter was not declared."""


class ParameterAlreadyDeclaredException(ParameterException):
    """The parameter was already declared."""


class InvalidParameterTypeException(ParameterException):
    """The value is of another type than the default."""


class InvalidParameterValueException(ParameterException):
    """The value is not allowed."""


class Parameter:
    """Name and value.

    Args:
        name: name, with dots between groups.
        type_: type of the value; by default that of the value.
        value: the value.
    """

    class Type(enum.IntEnum):
        """Type of a value, with the numbers of `rcl_interfaces`."""

        NOT_SET = 0
        BOOL = 1
        INTEGER = 2
        DOUBLE = 3
        STRING = 4
        BYTE_ARRAY = 5
        BOOL_ARRAY = 6
        INTEGER_ARRAY = 7
        DOUBLE_ARRAY = 8
        STRING_ARRAY = 9

        @classmethod
        def from_parameter_value(cls, value: Any) -> Parameter.Type:
            """Type of a Python value."""
            for kind, python in _SCALARS.items():
                if type(value) is python:
                    return kind
            if value is None:
                return cls.NOT_SET
            if isinstance(value, (list, tuple, array.array)):
                if all(isinstance(item, bytes) for item in value):
                    return cls.BYTE_ARRAY
                for kind in (cls.BOOL, cls.INTEGER, cls.DOUBLE, cls.STRING):
                    if all(type(item) is _SCALARS[kind] for item in value):
                        return cls[f"{kind.name}_ARRAY"]
            raise TypeError(f"{value!r} is of no parameter type; lists must have elements of one type")

    def __init__(self, name: str, type_: Parameter.Type | None = None, value: Any = None) -> None:
        found = Parameter.Type.from_parameter_value(value)
        # An empty list fits every kind of array.
        empty = isinstance(value, (list, tuple)) and not value
        if type_ is not None and found != type_ and not (empty and type_ >= Parameter.Type.BYTE_ARRAY):
            raise ValueError(f"parameter `{name}` is {value!r}; it must be {type_.name}")
        self._name, self._value = name, list(value) if isinstance(value, tuple) else value
        self._type = found if type_ is None else type_

    @property
    def name(self) -> str:
        """Full name."""
        return self._name

    @property
    def type_(self) -> Parameter.Type:
        """Type of the value."""
        return self._type

    @property
    def value(self) -> Any:
        """Value; sequences are lists."""
        return self._value

    def __repr__(self) -> str:
        return f"Parameter({self._name!r}, {self._type.name}, {self._value!r})"


_SCALARS: Mapping[Parameter.Type, type] = {
    Parameter.Type.BOOL: bool,
    Parameter.Type.INTEGER: int,
    Parameter.Type.DOUBLE: float,
    Parameter.Type.STRING: str,
}

SetCallback = Callable[[list[Parameter]], Any]


class Parameters:
    """Parameters of one node.

    Args:
        overrides: values from the command line and files, which replace defaults.
    """

    def __init__(self, overrides: Mapping[str, Any]) -> None:
        self._overrides = dict(overrides)
        self._values: dict[str, Parameter] = {}
        self._descriptors: dict[str, Any] = {}
        self._callbacks: list[SetCallback] = []

    def declare(self, name: str, value: Any = None, descriptor: Any = None) -> Parameter:
        """Declare a parameter; an override replaces ``value``. See ``rclpy.node.Node.declare_parameter``.

        Raises:
            ParameterAlreadyDeclaredException: the parameter is already declared.
            InvalidParameterTypeException: the override is of another type than the default.
            InvalidParameterValueException: the value is out of range, or a callback rejects it.
        """
        if name in self._values:
            raise ParameterAlreadyDeclaredException(f"parameter `{name}` is already declared")
        default = Parameter(name, None, None if isinstance(value, Parameter.Type) else value)
        wanted = value if isinstance(value, Parameter.Type) else default.type_
        given = self._overrides.get(name, default.value)
        descriptor = descriptor or message_class("rcl_interfaces/msg/ParameterDescriptor")()
        try:
            fixed = (
                name in self._overrides and wanted != Parameter.Type.NOT_SET and not descriptor.dynamic_typing
            )
            parameter = Parameter(name, wanted if fixed else None, given)
        except (TypeError, ValueError) as error:
            raise InvalidParameterTypeException(
                f"parameter `{name}` is {given!r} ({type(given).__name__}); it must be {wanted.name}: {error}"
            ) from None
        result = self._checked([parameter], {name: descriptor})
        if not result.successful:
            raise InvalidParameterValueException(f"parameter `{name}` is {given!r}: {result.reason}")
        descriptor.name, descriptor.type = name, int(wanted if wanted else parameter.type_)
        self._values[name], self._descriptors[name] = parameter, descriptor
        return parameter

    def has(self, name: str) -> bool:
        """Return whether a parameter is declared."""
        return name in self._values

    def get(self, name: str) -> Parameter:
        """Declared parameter.

        Raises:
            ParameterNotDeclaredException: the parameter is not declared.
        """
        if name not in self._values:
            raise ParameterNotDeclaredException(f"parameter `{name}` is not declared")
        return self._values[name]

    def describe(self, name: str) -> Any:
        """Descriptor of a declared parameter."""
        self.get(name)
        return self._descriptors[name]

    def set(self, parameters: Sequence[Parameter]) -> list[Any]:
        """Set each parameter if allowed; returns a SetParametersResult for each."""
        results = []
        for parameter in parameters:
            old, descriptor = self.get(parameter.name), self._descriptors[parameter.name]
            if descriptor.read_only:
                result = _refusal(f"parameter `{parameter.name}` is read-only")
            elif parameter.type_ != old.type_ and not descriptor.dynamic_typing:
                result = _refusal(
                    f"parameter `{parameter.name}` is {old.type_.name}, not {parameter.type_.name}"
                )
            else:
                result = self._checked([parameter], self._descriptors)
            if result.successful:
                self._values[parameter.name] = parameter
            results.append(result)
        return results

    def add_callback(self, callback: SetCallback) -> None:
        """Register a validation callback; the newest is called first."""
        self._callbacks.insert(0, callback)

    def remove_callback(self, callback: SetCallback) -> None:
        """Remove a validation callback."""
        self._callbacks.remove(callback)

    def _checked(self, parameters: list[Parameter], descriptors: Mapping[str, Any]) -> Any:
        for parameter in parameters:
            reason = _out_of_range(parameter, descriptors[parameter.name])
            if reason:
                return _refusal(reason)
        for callback in self._callbacks:
            result = callback(parameters)
            if not result.successful:
                return result
        return message_class("rcl_interfaces/msg/SetParametersResult")(successful=True)


def _refusal(reason: str) -> Any:
    return message_class("rcl_interfaces/msg/SetParametersResult")(successful=False, reason=reason)


def _out_of_range(parameter: Parameter, descriptor: Any) -> str:
    """Describe a value outside the range of its descriptor; empty if it is inside."""
    ranges = {
        Parameter.Type.INTEGER: descriptor.integer_range,
        Parameter.Type.DOUBLE: descriptor.floating_point_range,
    }.get(parameter.type_, [])
    for bounds in ranges:
        low, high = sorted((bounds.from_value, bounds.to_value))
        value = parameter.value
        at_edge = math.isclose(value, low, rel_tol=1e-6) or math.isclose(value, high, rel_tol=1e-6)
        if not (at_edge or low < value < high):
            return f"`{parameter.name}` is {value}; it must be {low} to {high}"
        steps = round((value - low) / bounds.step) if bounds.step and not at_edge else 0
        if steps and not math.isclose(low + steps * bounds.step, value, rel_tol=1e-6):
            return f"`{parameter.name}` is {value}; it must be {low} plus a multiple of {bounds.step}"
    return ""
