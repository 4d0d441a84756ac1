"""Id of a run of the graph: created by the launcher, passed to each node, part of every message of this package.

It contains host and process of the launcher, so that a message of another run is traceable. Standard library and PyYAML
alone: launch files import it.
"""

from __future__ import annotations

import os
import re
import socket
import time
from collections.abc import Mapping
from pathlib import Path

from rlt_ros.store.journal import Journal

RUNS_FILE = "runs.jsonl"
"""Runs of the graph that wrote into a folder, one JSON object per line."""

PREDECESSOR = "RLT_ROS_PREDECESSOR"
"""Environment variable with the ended process that a restarted node replaces."""

_UNSAFE = re.compile(r"[^A-Za-z0-9.]+")


def new_run_id() -> str:
    """Create an id from host, pid of this process and UTC time, e.g. ``lab3-4711-20261129T060842``."""
    host = _UNSAFE.sub("_", socket.gethostname())
    return f"{host}-{os.getpid()}-{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}"


def note_run(folder: Path, run_id: str, mode: str) -> None:
    """Append a run to the record of a run folder; creates a missing folder.

    Raises:
        OSError: the folder cannot be written to.
        StorageError: the disk is full.
    """
    folder.mkdir(parents=True, exist_ok=True)
    started = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    journal = Journal(folder / RUNS_FILE)
    try:
        journal.append({"run_id": run_id, "mode": mode, "started": started})
    finally:
        journal.close()


def local_discovery(environment: Mapping[str, str]) -> dict[str, str]:
    """Variables that limit the discovery of a simulated graph to this host; none if the environment sets one of them.

    ``ROS_AUTOMATIC_DISCOVERY_RANGE`` is read since Iron, ``ROS_LOCALHOST_ONLY`` by Humble.
    """
    if any(environment.get(name) for name in _DISCOVERY):
        return {}
    humble = environment.get("ROS_DISTRO") == "humble"
    return {"ROS_LOCALHOST_ONLY": "1"} if humble else {"ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"}


_DISCOVERY = ("ROS_AUTOMATIC_DISCOVERY_RANGE", "ROS_LOCALHOST_ONLY", "ROS_STATIC_PEERS")
