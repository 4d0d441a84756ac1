"""Data sets: recorded demonstrations, and episodes of LeRobot, Genie Sim and AgiBot World from folders and archives."""

from __future__ import annotations

from rlt_ros.data.demonstrations import Demonstration, DemonstrationError, load, load_folder, save
from rlt_ros.data.episode import RecordedEpisode
from rlt_ros.data.errors import DataError, EpisodeError
from rlt_ros.data.source import DataSource, open_source

__all__ = [
    "DataError",
    "DataSource",
    "Demonstration",
    "DemonstrationError",
    "EpisodeError",
    "RecordedEpisode",
    "load",
    "load_folder",
    "open_source",
    "save",
]
