"""What lies where in the folder of a run, whoever writes it: the trainer in one process, or the nodes of the graph."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rlt_ros.rlt.parameters import ConfigError
from rlt_ros.rlt.storage import replacing

CONFIG_FILE = "config.json"
EPISODES_FILE = "episodes.jsonl"
METRICS_FILE = "metrics.jsonl"
REPLAY_FILE = "replay.rlt"
CHECKPOINT_FILE = "learner.safetensors"
SUMMARY_FILE = "summary.json"


def keep_config(folder: Path, asked: Mapping[str, Any]) -> None:
    """Write a new run's settings into ``folder``, or check that the run which lies there has the same ones.

    Raises:
        ConfigError: it was begun with other settings; the message names them.
    """
    path = folder / CONFIG_FILE
    asked = json.loads(json.dumps(asked))
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        with replacing(path) as file:
            file.write_text(json.dumps(asked, indent=1))
        return
    found = json.loads(path.read_text())
    if found != asked:
        names = [name for name in asked if found.get(name) != asked[name]]
        raise ConfigError(
            f"{folder} holds a run with other settings ({', '.join(names)}); "
            "choose another folder, or give the run's own settings to go on with it"
        )
