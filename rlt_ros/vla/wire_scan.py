"""Bounds on a msgpack message, checked on its bytes before anything is decoded.

A decoder makes an object per item: 30 MiB of empty maps take 114 s and gigabytes. The scan reads the type bytes alone,
makes nothing, and stops at the first bound that is exceeded.
"""

from __future__ import annotations

MOST_ITEMS = 2**16
"""Items of a message, those of all lists and maps together. A chunk of 50 steps of 32 joints as plain lists has 1,650;
pictures and embeddings travel as bytes, one item each. As many take 0.1 s to scan and decode."""
MOST_DEPTH = 16
"""Lists and maps within each other. An observation has 4."""

_FIXED = {0xC0: 0, 0xC2: 0, 0xC3: 0, 0xCA: 4, 0xCB: 8} | {0xCC + i: 2 ** (i % 4) for i in range(8)}
"""Type byte → bytes of the value: nil, truth values, floating point, whole numbers (msgpack specification)."""
_SIZED = {0xC4: 1, 0xC5: 2, 0xC6: 4, 0xD9: 1, 0xDA: 2, 0xDB: 4}
"""Type byte → bytes of the length: bytes and text."""
_LISTS, _MAPS = {0xDC: 2, 0xDD: 4}, {0xDE: 2, 0xDF: 4}
"""Type byte → bytes of the count."""


class ScanError(ValueError):
    """A message that must not be decoded."""


def scan(data: bytes) -> None:
    """Check that a message is one whole value within `MOST_ITEMS` and `MOST_DEPTH`, without extensions.

    Raises:
        ScanError: it is not; the message names the bound and what is wrong.
    """
    at, size, items = 0, len(data), 1
    left = [1]  # values that follow, per open list or map
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
        if items > MOST_ITEMS:
            raise ScanError(f"it has more than {MOST_ITEMS} items; send numbers as arrays, not as lists")
        if len(left) > MOST_DEPTH:
            raise ScanError(f"its lists and maps are nested more than {MOST_DEPTH} deep")
        left.append(inner)
    if at != size:
        raise ScanError(f"it is no msgpack, or is cut off: its value ends at byte {at} of {size}")


def _step(data: bytes, at: int) -> tuple[int, int | None]:
    """End of the value at ``at``, or beginning of its first item; items of a list or map, None for others."""
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
