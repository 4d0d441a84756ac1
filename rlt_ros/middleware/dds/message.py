"""Message classes, made from interface definitions on first use, and their serialisation.

They behave like the generated classes of ROS 2: keyword arguments, defaults, checked assignment, constants, equality.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Mapping
from typing import Any, ClassVar, TypeVar

from rosbags.interfaces import Nodetype
from rosbags.serde import SerdeError

from rlt_ros.middleware.dds.definitions import require_known, type_store
from rlt_ros.middleware.dds.message_fields import Byte, Field, fixed, nested, scalar, sequence

_DEFAULTS: Mapping[str, Mapping[str, Any]] = {"geometry_msgs/msg/Quaternion": {"w": 1.0}}
"""Defaults of interface definitions, which the type store lacks."""

_lock = threading.RLock()
M = TypeVar("M", bound="Message")


class MalformedMessage(ValueError):
    """The bytes are not a message of the expected type."""


class Message:
    """Base class of all messages.

    Attributes:
        TYPE: full name, e.g. ``sensor_msgs/msg/JointState``.
    """

    __slots__ = ()
    TYPE: ClassVar[str]
    _fields: ClassVar[Mapping[str, Field]]

    def __init__(self, **values: Any) -> None:
        for name, field in self._fields.items():
            if name not in values:
                object.__setattr__(self, name, field.default())
        for name, value in _DEFAULTS.get(self.TYPE, {}).items():
            values.setdefault(name, value)
        for name, value in values.items():
            setattr(self, name, value)

    def __setattr__(self, name: str, value: Any) -> None:
        field = self._fields.get(name)
        if field is None:
            raise AttributeError(f"{self.TYPE} has no field `{name}`; it has: {', '.join(self._fields)}")
        try:
            object.__setattr__(self, name, field.check(value))
        except (TypeError, ValueError, OverflowError) as error:
            raise type(error)(f"`{name}` of {self.TYPE} {error}") from None

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return all(_equal(getattr(self, name), getattr(other, name)) for name in self._fields)

    # Mutable.
    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        values = ", ".join(f"{name}={getattr(self, name)!r}" for name in self._fields)
        return f"{self.TYPE.replace('/', '.')}({values})"

    @classmethod
    def get_fields_and_field_types(cls) -> dict[str, str]:
        """Field name → type, as in the interface definition."""
        return {name: field.type for name, field in cls._fields.items()}


def _equal(one: Any, other: Any) -> bool:
    same = one == other
    return bool(same) if not hasattr(same, "all") else bool(same.all())


@functools.cache
def message_class(name: str) -> type[Message]:
    """Class of message type ``name``, e.g. ``std_msgs/msg/String``.

    Raises:
        UnknownType: the type has no definition.
    """
    require_known(name)
    with _lock:
        return _make_class(name)


def serialize_message(message: Message) -> bytes:
    """Serialise a message to little-endian XCDR1 with encapsulation header, as ROS 2 does."""
    return bytes(type_store().serialize_cdr(message, message.TYPE, little_endian=True))


def deserialize_message(data: bytes, cls: type[M]) -> M:
    """Deserialise a message of class ``cls``.

    Raises:
        MalformedMessage: the bytes are no such message.
    """
    try:
        message = type_store().deserialize_cdr(data, cls.TYPE)
    except (SerdeError, ValueError, IndexError) as error:
        raise MalformedMessage(f"{len(data)} bytes are no {cls.TYPE}: {error}") from error
    assert isinstance(message, cls)
    return message


def _make_class(name: str) -> type[Message]:
    store = type_store()
    constants, definitions = store.fielddefs[name]
    fields = {field: _field(definition) for field, definition in definitions}
    package, _, short = name.split("/")
    namespace: dict[str, Any] = {
        "__slots__": tuple(fields),
        "__module__": f"{package}.msg",
        "__doc__": f"Message {name}.",
        "TYPE": name,
        "_fields": fields,
        **{key: Byte((int(value),)) if kind == "byte" else value for key, kind, value in constants},
    }
    cls: type[Message] = type(short, (Message,), namespace)
    readers = tuple((field, rule.from_wire) for field, rule in fields.items())

    def from_wire(*values: Any) -> Message:
        message = cls.__new__(cls)
        for (field, read), value in zip(readers, values, strict=True):
            object.__setattr__(message, field, read(value))
        return message

    # Called with the values, like the class that it replaces.
    store.types[name] = from_wire  # type: ignore[assignment]
    return cls


def _field(definition: Any) -> Field:
    kind, detail = definition
    if kind == Nodetype.BASE:
        return scalar(*detail)
    if kind == Nodetype.NAME:
        return nested(message_class(detail), detail)
    element, size = detail
    return fixed(_field(element), size) if kind == Nodetype.ARRAY else sequence(_field(element), size)
