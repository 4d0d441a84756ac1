"""What an executor sleeps on: a DDS wait set that names what woke it."""

from __future__ import annotations

import ctypes
from typing import Any

from cyclonedds.core import DDSException, Entity, WaitSet


class NamingWaitSet(WaitSet):
    """A wait set whose :meth:`triggered` tells which of its entities have something.

    The wrapper's own tells how many; to ask each of them afterwards costs more than the messages do.

    Args:
        participant: DDS participant.
    """

    def __init__(self, participant: Any) -> None:
        super().__init__(participant)
        self._handles: set[int] = set()
        self._found = (ctypes.c_void_p * 16)()

    def attach(self, entity: Entity) -> None:
        """Be woken by ``entity``. What DDS gives back when it wakes us is the entity's handle."""
        handle = handle_of(entity)
        result = self._waitset_attach(self._ref, handle, handle)
        if result < 0:
            raise DDSException(result, f"Occurred when trying to attach {entity!r} to {self!r}")
        self._handles.add(handle)
        if len(self._handles) > len(self._found):
            self._found = (ctypes.c_void_p * (2 * len(self._handles)))()

    def detach(self, entity: Entity) -> None:
        """Be woken by it no more. One that was deleted has left by itself, so that it is unknown is no error."""
        self._handles.discard(handle_of(entity))
        self._waitset_detach(self._ref, handle_of(entity))

    def triggered(self, timeout_ns: int) -> list[int]:
        """Handles of the entities that have something; sleeps ``timeout_ns`` at most until one has."""
        count = self._waitset_wait(self._ref, self._found, len(self._found), timeout_ns)
        if count < 0:
            raise DDSException(count, f"Occurred while waiting in {self!r}")
        return [handle for handle in self._found[:count] if handle]


def handle_of(entity: Entity) -> int:
    """The number by which DDS knows an entity; never 0."""
    return int(entity._ref)
