"""Frozen vision-language-action models behind one protocol."""

from __future__ import annotations

from rlt_ros.vla.protocol import (
    VLA,
    ObservationBatch,
    ObservationError,
    VLAOutput,
    VLASpec,
    check_observations,
)

__all__ = ["VLA", "ObservationBatch", "ObservationError", "VLAOutput", "VLASpec", "check_observations"]
