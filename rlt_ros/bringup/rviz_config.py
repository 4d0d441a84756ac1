"""Configuration of RViz for one robot, made from `config/rviz/rlt.rviz` at launch.

Fixed frame, prefix of the frames and target frame of the view differ between robots and namespaces. Launch files run
this on the system's Python, so it needs the standard library and PyYAML alone.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import yaml

from rlt_ros.robots.profile_file import read_profile_values
from rlt_ros.share import share_folder
from rlt_ros.store.documents import read_yaml_file


def rviz_config(robot: str, namespace: str) -> str:
    """Text of the configuration file.

    Args:
        robot: name of a profile, or the path of one.
        namespace: namespace of the robot, without slashes at the ends; empty for the root.

    Raises:
        ConfigError: the profile does not exist.
    """
    values = read_profile_values(robot)
    prefix = f"{namespace}/" if namespace else ""
    template = share_folder("config") / "rviz" / "rlt.rviz"
    document = read_yaml_file(template)
    manager: dict[str, Any] = document["Visualization Manager"]
    manager["Global Options"]["Fixed Frame"] = prefix + str(values["base_frame"])
    manager["Views"]["Current"]["Target Frame"] = prefix + str(values["tip_frame"])
    for display in manager["Displays"]:
        if display["Class"] == "rviz_default_plugins/RobotModel":
            # RViz itself puts the slash between prefix and frame.
            display["TF Prefix"] = namespace
    return str(yaml.safe_dump(document, sort_keys=False))


def rviz_file(text: str) -> Path:
    """Path of a configuration, unique per user and content, so that graphs on one host do not share one."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    return cache / "rlt_ros" / f"{hashlib.sha256(text.encode()).hexdigest()[:12]}.rviz"
