"""DDS wait set of an executor that returns the triggered entities."""

from __future__ import annotations

import ctypes
from typing import Any

from cyclonedds.core import DDSException, Entity, WaitSet


class NamingWaitSet(WaitSet):
    """Wait set whose :meth:`triggered` returns the handles of ready entities.

    The wrapper's own returns only their number; polling each entity afterwards would cost more than the messages.

    Args:
        participant: DDS participant.
    """

    def __init__(self, participant: Any) -> None:
        super().__init__(participant)
        self._handles: set[int] = set()
        self._found = (ctypes.c_void_p * 16)()

    def attach(self, entity: Entity) -> None:
        """Add ``entity``, with its handle as the value that DDS returns."""
        handle = handle_of(entity)
        result = self._waitset_attach(self._ref, handle, handle)
        if result < 0:
            raise DDSException(result, f"Occurred when trying to attach {entity!r} to {self!r}")
        self._handles.add(handle)
        if len(self._handles) > len(self._found):
            self._found = (ctypes.c_void_p * (2 * len(self._handles)))()

    def detach(self, entity: Entity) -> None:
        """Remove ``entity``; a deleted entity is already removed, which is no error."""
        self._handles.discard(handle_of(entity))
        self._waitset_detach(self._ref, handle_of(entity))

    def triggered(self, timeout_ns: int) -> list[int]:
        """Wait up to ``timeout_ns``; returns the handles of ready entities."""
        count = self._waitset_wait(self._ref, self._found, len(self._found), timeout_ns)
        if count < 0:
            raise DDSException(count, f"Occurred while waiting in {self!r}")
        return [handle for handle in self._found[:count] if handle]


def handle_of(entity: Entity) -> int:
    """DDS handle of an entity; never 0."""
    return int(entity._ref)
