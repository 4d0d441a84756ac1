"""Perception: observations of all cameras and the joint state at one stamp."""

from __future__ import annotations

from rlt_ros.perception.observation import Observation

__all__ = ["Observation"]
