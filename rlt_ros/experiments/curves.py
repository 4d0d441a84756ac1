"""Curves of a run for TensorBoard, which end early on a full disk."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

from torch.utils.tensorboard import SummaryWriter

logger = logging.getLogger(__name__)


class Curves:
    """Scalars over steps. A disk error is logged once and ends the curves, not the run.

    Args:
        folder: folder of the event files.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._writer: SummaryWriter | None = None
        self._attempt(self._open)

    def add(self, name: str, value: float, step: int) -> None:
        """Add the ``value`` of the curve ``name`` at ``step``."""
        if (writer := self._writer) is not None:
            self._attempt(lambda: writer.add_scalar(name, value, step))

    def close(self) -> None:
        """Write what is pending and close the file."""
        if (writer := self._writer) is not None:
            self._attempt(writer.close)
        self._writer = None

    def _open(self) -> None:
        self._writer = SummaryWriter(str(self._folder))

    def _attempt(self, action: Callable[[], None]) -> None:
        # The library writes in another thread: an error is raised by every later call.
        try:
            action()
        except OSError as error:
            self._writer = None
            logger.warning(
                "%s: TensorBoard's curves could not be written (%s); the run continues without them. Free some disk "
                "space; the next start continues them",
                self._folder,
                error,
            )
