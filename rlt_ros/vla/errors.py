"""What goes wrong with VLAs that are not the built-in one."""

from __future__ import annotations

from rlt_ros.rlt.storage import StorageError


class VLALoadError(StorageError):
    """A checkpoint that cannot be loaded: missing files, another model, pickled weights."""


class VLAUnavailableError(ValueError):
    """A VLA behind a network that gave no answer that can be used.

    A `ValueError`, as for an observation that a VLA cannot take: the one that it was asked about is dropped and
    counted, and the next one is asked again.
    """
