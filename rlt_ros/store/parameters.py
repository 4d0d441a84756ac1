"""Parameters, declared once as dataclass fields, with errors that name the remedy.

A field of :func:`parameter` has a help text, unit, range and the source of its default. The command line, the ROS
parameter declarations and the reference pages are made from :func:`describe`.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
import types
import typing
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from rlt_ros.store.documents import DocumentError, read_yaml_file

T = TypeVar("T")

_KEY = "rlt_ros.parameter"
_SCALARS: tuple[type, ...] = (bool, int, float, str)


class ConfigError(ValueError):
    """Invalid configuration value. The message names origin, key, value and the allowed ones."""


@dataclasses.dataclass(frozen=True)
class _Limits:
    help: str = ""
    unit: str = ""
    low: float | None = None
    high: float | None = None
    choices: tuple[Any, ...] = ()
    source: str = ""


@dataclasses.dataclass(frozen=True)
class Description:
    """Parameter for documentation and tools; ``default`` is ``MISSING`` where it is required."""

    name: str
    type: str
    default: Any
    unit: str
    help: str
    low: float | None
    high: float | None
    choices: tuple[Any, ...]
    source: str

    @property
    def range(self) -> str:
        """Text of the allowed values; empty if every value of the type is allowed."""
        if self.choices:
            return " | ".join(str(choice) for choice in self.choices)
        if self.low is not None and self.high is not None:
            return f"{self.low} to {self.high}"
        if self.low is not None:
            return f"at least {self.low}"
        return "" if self.high is None else f"at most {self.high}"


def parameter(
    default: Any,
    *,
    help: str,
    unit: str = "",
    low: float | None = None,
    high: float | None = None,
    choices: Sequence[Any] = (),
    source: str = "",
) -> Any:
    """Declare a dataclass field that is a parameter.

    Args:
        default: immutable default value, or ``dataclasses.MISSING`` for a parameter that must be given.
        help: noun phrase with the effect of the value.
        unit: physical unit or count, empty for a pure number.
        low: smallest allowed value, inclusive; applies to every element of a tuple.
        high: largest allowed value, inclusive.
        choices: allowed values of an enumeration.
        source: source of the default (paper section, data sheet, measurement).
    """
    limits = _Limits(help, unit, low, high, tuple(choices), source)
    return dataclasses.field(default=default, metadata={_KEY: limits})


def check(instance: Any) -> None:
    """Check every field of a dataclass for type and range; call it from ``__post_init__``.

    Raises:
        ConfigError: on the first field whose value does not fit its declaration.
    """
    hints = typing.get_type_hints(type(instance))
    for field in dataclasses.fields(instance):
        value = getattr(instance, field.name)
        _check_type(value, hints[field.name], field.name)
        _check_limits(value, field)


def build(cls: type[T], mapping: Mapping[str, Any], *, origin: str) -> T:
    """Build a ``cls`` from plain values, such as those of a YAML file.

    Args:
        cls: a dataclass; nested dataclasses, tuples, mappings and optional values are converted.
        mapping: field name to value; missing keys have their defaults.
        origin: source of the values (a file name, ``"command line"``), for error messages.

    Raises:
        ConfigError: unknown or missing key, wrong type, value out of range.
    """
    try:
        return _build(cls, mapping, "")
    except ConfigError as error:
        raise ConfigError(f"{origin}: {error}") from None


def read_yaml(path: str | Path) -> dict[str, Any]:
    """Read a YAML file that is one mapping, for :func:`build`.

    Raises:
        ConfigError: the file cannot be read or parsed, or is no mapping.
    """
    try:
        document = read_yaml_file(path)
    except DocumentError as error:
        raise ConfigError(str(error)) from error
    if not isinstance(document, dict):
        raise ConfigError(f"{path}: holds no `key: value` lines")
    return document


def describe(cls: type, prefix: str = "") -> Iterator[Description]:
    """Iterate over the parameters of a dataclass, nested ones with dotted names."""
    hints = typing.get_type_hints(cls)
    for field in dataclasses.fields(cls):
        hint = hints[field.name]
        if dataclasses.is_dataclass(hint):
            yield from describe(typing.cast(type, hint), f"{prefix}{field.name}.")
            continue
        limits = field.metadata.get(_KEY, _Limits())
        default = field.default
        if field.default_factory is not dataclasses.MISSING:
            default = field.default_factory()
        yield Description(f"{prefix}{field.name}", _type_name(hint), default, **dataclasses.asdict(limits))


def plain_default(description: Description) -> Any:
    """Default as the value of a ROS parameter; None without one, for a parameter of dynamic type."""
    value = description.default
    if value is dataclasses.MISSING or value is None or value == ():
        return None
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, tuple):
        return [float(item) for item in value] if "float" in description.type else list(value)
    return float(value) if description.type == "float" else value


def nested(values: Mapping[str, Any]) -> dict[str, Any]:
    """Nested sections from values by dotted names, for :func:`build`."""
    result: dict[str, Any] = {}
    for name, value in values.items():
        *path, last = name.split(".")
        section = result
        for part in path:
            section = section.setdefault(part, {})
        section[last] = value
    return result


def _reject_unknown(mapping: Mapping[str, Any], allowed: Mapping[str, Any], what: str) -> None:
    for key in mapping:
        if key not in allowed:
            hint = did_you_mean(str(key), allowed)
            raise ConfigError(f"{what} `{key}` is unknown; {hint}allowed: {', '.join(sorted(allowed))}")


def did_you_mean(name: str, allowed: Iterable[str]) -> str:
    """Hint at the closest allowed name, with a trailing space, for an error message; empty without a close one."""
    options = list(allowed)
    close = difflib.get_close_matches(name, options, n=1)
    if not close and len(name) > 2:
        close = [option for option in options if name.lower() in option.lower()]
    return f"did you mean `{close[0]}`? " if close else ""


def _build(cls: type[T], mapping: Any, prefix: str) -> T:
    if not isinstance(mapping, Mapping):
        raise ConfigError(f"`{prefix.rstrip('.')}` is {mapping!r}; it must be a section of keys and values")
    fields = {field.name: field for field in dataclasses.fields(typing.cast(Any, cls)) if field.init}
    _reject_unknown(
        {f"{prefix}{key}": None for key in mapping}, {f"{prefix}{key}": None for key in fields}, "key"
    )
    hints = typing.get_type_hints(cls)
    values = {}
    for name, field in fields.items():
        if name in mapping:
            values[name] = _convert(mapping[name], hints[name], f"{prefix}{name}")
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise ConfigError(f"`{prefix}{name}` is required and missing")
    try:
        return cls(**values)
    except ConfigError as error:
        raise ConfigError(f"in `{prefix.rstrip('.')}`: {error}" if prefix else str(error)) from None


def _convert(value: Any, hint: Any, key: str) -> Any:
    """Convert a YAML value to the annotated type: lists to tuples, sections to dataclasses."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        return value if isinstance(value, hint) else _build(hint, value, f"{key}.")
    if origin in (typing.Union, types.UnionType):
        options = [option for option in arguments if option is not type(None)]
        return None if value is None else _convert(value, options[0], key)
    if origin is tuple and isinstance(value, list | tuple):
        inner = [arguments[0]] * len(value) if arguments[-1] is Ellipsis else list(arguments)
        if len(inner) != len(value):
            raise ConfigError(f"`{key}` has {len(value)} values; it must have {len(inner)}")
        return tuple(
            _convert(item, kind, f"{key}[{i}]")
            for i, (item, kind) in enumerate(zip(value, inner, strict=True))
        )
    if origin in (dict, Mapping) and isinstance(value, Mapping):
        return {str(name): _convert(item, arguments[1], f"{key}.{name}") for name, item in value.items()}
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if hint is Path and isinstance(value, str):
        return Path(value)
    _check_type(value, hint, key)
    return value


def _check_type(value: Any, hint: Any, key: str) -> None:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        if value is not None:
            _check_type(value, next(option for option in arguments if option is not type(None)), key)
        elif type(None) not in arguments:
            raise ConfigError(f"`{key}` is empty; it must be {_type_name(hint)}")
        return
    if origin is tuple and isinstance(value, tuple):
        for index, item in enumerate(value):
            _check_type(item, arguments[0 if arguments[-1] is Ellipsis else index], f"{key}[{index}]")
        return
    expected = origin or hint
    if not isinstance(expected, type) or (expected not in _SCALARS and isinstance(value, expected)):
        return
    whole = isinstance(value, int) and not isinstance(value, bool)
    fits = whole or isinstance(value, float) if expected is float else type(value) is expected
    if not fits:
        raise ConfigError(f"`{key}` is {value!r} ({type(value).__name__}); it must be {_type_name(hint)}")
    if isinstance(value, float) and not math.isfinite(value):
        raise ConfigError(f"`{key}` is {value}; it must be a finite number")


def _check_limits(value: Any, field: dataclasses.Field[Any]) -> None:
    limits: _Limits = field.metadata.get(_KEY, _Limits())
    for item in value if isinstance(value, tuple) else (value,):
        if item is None:
            continue
        if limits.choices and item not in limits.choices:
            allowed = ", ".join(str(choice) for choice in limits.choices)
            raise ConfigError(f"`{field.name}` is {item!r}; allowed: {allowed}")
        if (limits.low is not None and item < limits.low) or (limits.high is not None and item > limits.high):
            allowed = Description(field.name, "", None, **dataclasses.asdict(limits)).range
            unit = f" {limits.unit}" if limits.unit else ""
            raise ConfigError(f"`{field.name}` is {item}; it must be {allowed}{unit}")


def _type_name(hint: Any) -> str:
    return (
        hint.__name__
        if isinstance(hint, type) and not typing.get_args(hint)
        else str(hint).replace("typing.", "")
    )
