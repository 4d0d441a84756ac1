"""Bounds of a msgpack message, checked on its bytes before decoding.

A decoder creates an object per item: 30 MiB of empty maps take 114 s and gigabytes. The scan reads type bytes only,
creates nothing, and stops at the first exceeded bound.
"""

from __future__ import annotations

MAX_ITEMS = 2**16
"""Items of all lists and maps of a message. A chunk of 50 steps of 32 joints as plain lists has 1,650; images and
embeddings are bytes, one item each. Scanning and decoding this many takes 0.1 s."""
MAX_DEPTH = 16
"""Nesting of lists and maps. An observation has 4."""

_FIXED = {0xC0: 0, 0xC2: 0, 0xC3: 0, 0xCA: 4, 0xCB: 8} | {0xCC + i: 2 ** (i % 4) for i in range(8)}
"""Type byte → bytes of the value: nil, booleans, floating point, integers (msgpack specification)."""
_SIZED = {0xC4: 1, 0xC5: 2, 0xC6: 4, 0xD9: 1, 0xDA: 2, 0xDB: 4}
"""Type byte → bytes of the length: bytes and text."""
_LISTS, _MAPS = {0xDC: 2, 0xDD: 4}, {0xDE: 2, 0xDF: 4}
"""Type byte → bytes of the count."""


class ScanError(ValueError):
    """Message that must not be decoded."""


def scan(data: bytes) -> None:
    """Check that a message is one whole value within `MAX_ITEMS` and `MAX_DEPTH`, without extensions.

    Raises:
        ScanError: the message violates a bound, which the error names.
    """
    at, size, items = 0, len(data), 1
    # Values that follow, per open list or map.
    left = [1]
    while left:
        if left[-1] == 0:
            left.pop()
            continue
        left[-1] -= 1
        if at >= size:
            raise ScanError(f"it is no msgpack, or is cut off after {size} bytes")
        at, inner = _step(data, at)
        if inner is None:
            continue
        items += inner
        if items > MAX_ITEMS:
            raise ScanError(f"it has more than {MAX_ITEMS} items; send numbers as arrays, not as lists")
        if len(left) > MAX_DEPTH:
            raise ScanError(f"its lists and maps are nested more than {MAX_DEPTH} deep")
        left.append(inner)
    if at != size:
        raise ScanError(f"it is no msgpack, or is cut off: its value ends at byte {at} of {size}")


def _step(data: bytes, at: int) -> tuple[int, int | None]:
    """End of the value at ``at``, or start of its first item; number of items of a list or map, None for others."""
    kind = data[at]
    at += 1
    if kind <= 0x7F or kind >= 0xE0:
        return at, None
    if kind <= 0x8F:
        return at, 2 * (kind & 15)
    if kind <= 0x9F:
        return at, kind & 15
    if kind <= 0xBF:
        return at + (kind & 31), None
    if kind in _FIXED:
        return at + _FIXED[kind], None
    for lengths, per_item in ((_LISTS, 1), (_MAPS, 2), (_SIZED, 0)):
        if kind in lengths:
            start, at = at, at + lengths[kind]
            length = int.from_bytes(data[start:at], "big")
            return (at, length * per_item) if per_item else (at + length, None)
    raise ScanError(
        "it is no msgpack"
        if kind == 0xC1
        else f"it holds an extension of msgpack (type byte {kind:#x}); none is taken"
    )
