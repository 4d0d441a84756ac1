"""Data sets: recorded demonstrations and, later, readers of foreign formats and of ROS bags."""

from __future__ import annotations

from rlt_ros.data.demonstrations import Demonstration, DemonstrationError, load, load_folder, save

__all__ = ["Demonstration", "DemonstrationError", "load", "load_folder", "save"]
