"""Errors of external VLAs."""

from __future__ import annotations

from rlt_ros.store.storage import StorageError


class VLALoadError(StorageError):
    """Checkpoint that cannot be loaded: missing files, another model, pickled weights."""


class VLAUnavailableError(ValueError):
    """Request to a VLA behind a network without a usable answer.

    A `ValueError`, like an observation that a VLA refuses: the observation is dropped and counted, and the next one is
    requested again.
    """
