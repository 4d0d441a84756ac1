"""What a field of a message may hold, with the types that rclpy uses for it.

A class made by ROS 2 holds sequences of numbers as ``array.array``, fixed arrays of numbers as NumPy arrays, a ``byte``
as ``bytes`` of length 1 and everything else as plain Python values, and refuses values of other types. So do these
fields, so that code which works here works there. The values know how to write themselves to the wire: `rosbags`
generates the serialisation, and asks sequences for a NumPy ``view`` and a byte for its ``__index__``.
"""

from __future__ import annotations

import array
import math
from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

_INTEGERS = {
    "int8": ("b", -(2**7), 2**7 - 1),
    "uint8": ("B", 0, 2**8 - 1),
    "char": ("B", 0, 2**8 - 1),
    "int16": ("h", -(2**15), 2**15 - 1),
    "uint16": ("H", 0, 2**16 - 1),
    "int32": ("i", -(2**31), 2**31 - 1),
    "uint32": ("I", 0, 2**32 - 1),
    "int64": ("q", -(2**63), 2**63 - 1),
    "uint64": ("Q", 0, 2**64 - 1),
}
_FLOATS = {"float32": ("f", 3.402823466e38), "float64": ("d", 1.7976931348623157e308)}
_CODES: dict[str, str] = {
    **{name: code for name, (code, _, _) in _INTEGERS.items()},
    **{name: code for name, (code, _) in _FLOATS.items()},
}


class Numbers(array.array[Any] if TYPE_CHECKING else array.array):  # type: ignore[misc]
    """A sequence of numbers."""

    def view(self, dtype: Any) -> Any:
        """The bytes, for the generated serialisation."""
        return memoryview(self).cast("B")


class Bools(list[Any]):
    """A sequence of truth values."""

    def view(self, dtype: Any) -> Any:
        """The bytes, for the generated serialisation."""
        return bytes(self)


class Bytes(list[Any]):
    """A sequence of ``byte``, each ``bytes`` of length 1."""

    def view(self, dtype: Any) -> Any:
        """The bytes, for the generated serialisation."""
        return b"".join(self)


class Byte(bytes):
    """One ``byte``."""

    def __index__(self) -> int:
        return int.from_bytes(self, "little", signed=True)


@dataclass(frozen=True)
class Field:
    """One field.

    Attributes:
        type: as the interface definition writes it, e.g. ``float32[]``.
        default: makes the value of a new message.
        check: value to what is stored; raises TypeError or ValueError that says what is expected.
        from_wire: what `rosbags` read to what is stored.
    """

    type: str
    default: Callable[[], Any]
    check: Callable[[Any], Any]
    from_wire: Callable[[Any], Any] = lambda value: value


def scalar(name: str, limit: int = 0) -> Field:
    """A field of primitive type ``name``; ``limit`` is the longest string, 0 for any."""
    if name in _INTEGERS:
        return Field(name, int, lambda value: _integer(value, name))
    if name in _FLOATS:
        return Field(name, float, lambda value: _float(value, name))
    if name == "bool":
        return Field(name, bool, lambda value: _instance(value, bool, name))
    if name == "byte":
        return Field(name, lambda: Byte(1), _byte, lambda value: Byte((value & 0xFF,)))
    if name == "string":
        shown = f"string<={limit}" if limit else name
        return Field(shown, str, lambda value: _string(value, limit))
    raise TypeError(f"fields of type `{name}` are not supported; ROS 2 messages here use none")


def nested(cls: type, name: str) -> Field:
    """A field that is a message of class ``cls``, ``name`` in the definition."""
    return Field(name, cls, lambda value: _instance(value, cls, name))


def sequence(element: Field, limit: int = 0) -> Field:
    """Any number of ``element``, or at most ``limit``."""
    shown = f"{element.type}[{f'<={limit}' if limit else ''}]"
    code = _CODES.get(element.type)
    if code:
        return Field(
            shown,
            lambda: Numbers(code),
            lambda value: _bounded(_numbers(value, code, shown, element), limit, shown),
            lambda value: _numbers_from_wire(value, code),
        )
    kind: Any = {"bool": Bools, "byte": Bytes}.get(element.type, list)
    from_wire = (
        (lambda value: kind(element.from_wire(item) for item in _listed(value))) if kind is not list else list
    )
    return Field(
        shown,
        kind,
        lambda value: _bounded(kind(element.check(item) for item in _sequence(value, shown)), limit, shown),
        from_wire,
    )


def fixed(element: Field, size: int) -> Field:
    """Exactly ``size`` of ``element``."""
    shown = f"{element.type}[{size}]"
    code = _CODES.get(element.type) or ("?" if element.type == "bool" else None)
    if code:
        dtype = np.dtype(code)
        return Field(
            shown,
            lambda: np.zeros(size, dtype),
            lambda value: _fixed_numbers(value, dtype, size, shown),
            lambda value: value.astype(dtype),  # a copy: what was read is a view of the received bytes
        )
    many = sequence(element)
    return Field(
        shown,
        lambda: many.check([element.default() for _ in range(size)]),
        lambda value: _exactly(many.check(value), size, shown),
        many.from_wire,
    )


def _integer(value: Any, name: str) -> int:
    _, low, high = _INTEGERS[name]
    if not isinstance(value, int):
        raise TypeError(f"is {value!r} ({type(value).__name__}); it must be int ({name})")
    if not low <= value <= high:
        raise ValueError(f"is {value}; {name} holds {low} to {high}")
    return int(value)


def _float(value: Any, name: str) -> float:
    if not isinstance(value, float):
        raise TypeError(f"is {value!r} ({type(value).__name__}); it must be float ({name})")
    if abs(value) > _FLOATS[name][1] and not math.isinf(value):
        raise ValueError(f"is {value}; {name} holds at most {_FLOATS[name][1]}")
    return float(value)


def _instance(value: Any, cls: type, name: str) -> Any:
    if not isinstance(value, cls):
        raise TypeError(f"is {value!r} ({type(value).__name__}); it must be {name}")
    return value


def _byte(value: Any) -> Byte:
    if not isinstance(value, (bytes, bytearray)) or len(value) != 1:
        raise TypeError(f"is {value!r}; it must be bytes of length 1")
    return Byte(
        value[:1]
    )  # a slice is plain bytes; Python 3.10 would take a Byte for a length, as it has an index


def _string(value: Any, limit: int) -> str:
    _instance(value, str, "str")
    if limit and len(value) > limit:
        raise ValueError(f"has {len(value)} characters; it must have at most {limit}")
    return str(value)


def _sequence(value: Any, shown: str) -> Any:
    if isinstance(value, (str, np.ndarray)) or not isinstance(value, (Sequence, Set, array.array)):
        hint = "; give `pack(array)` of rlt_ros.middleware.arrays" if isinstance(value, np.ndarray) else ""
        raise TypeError(f"is a {type(value).__name__}; {shown} takes a sequence{hint}")
    return value


def _numbers(value: Any, code: str, shown: str, element: Field) -> Numbers:
    if isinstance(value, Numbers) and value.typecode == code:
        return value
    if isinstance(value, array.array) and value.typecode == code:
        return Numbers(code, value)
    if code == "B" and isinstance(value, (bytes, bytearray)):
        return Numbers(code, value)
    return Numbers(code, [element.check(item) for item in _sequence(value, shown)])


def _numbers_from_wire(value: Any, code: str) -> Numbers:
    numbers = Numbers(code)
    numbers.frombytes(value.view(np.uint8))
    return numbers


def _listed(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.ndarray) else value


def _fixed_numbers(value: Any, dtype: np.dtype[Any], size: int, shown: str) -> Any:
    if isinstance(value, np.ndarray) and value.dtype != dtype:
        raise TypeError(f"is an array of {value.dtype}; {shown} takes {dtype}")
    return _exactly(np.array(value, dtype), size, shown)


def _bounded(value: Any, limit: int, shown: str) -> Any:
    if limit and len(value) > limit:
        raise ValueError(f"has {len(value)} elements; it must have at most {limit} ({shown})")
    return value


def _exactly(value: Any, size: int, shown: str) -> Any:
    if len(value) != size:
        raise ValueError(f"has {len(value)} elements; it must have {size} ({shown})")
    return value
