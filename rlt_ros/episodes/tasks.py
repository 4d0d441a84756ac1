"""What a robot is told about a task: instruction and step limits, from one YAML file a task in ``config/tasks/``."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from rlt_ros.rlt.parameters import ConfigError, build, check, parameter, read_yaml
from rlt_ros.share import require_yaml_file, shipped


@dataclasses.dataclass(frozen=True)
class TaskProfile:
    """One task."""

    name: str = parameter(dataclasses.MISSING, help="Name of the task; the same as the file's.")
    instruction: str = parameter(dataclasses.MISSING, help="What the VLA is told.")
    approach_steps: int = parameter(
        200, help="Control steps in which the VLA must bring the tool near.", unit="steps", low=1
    )
    critical_steps: int = parameter(
        200, help="Control steps of the critical phase after which it is cut.", unit="steps", low=1
    )

    def __post_init__(self) -> None:
        check(self)
        if not self.instruction.strip():
            raise ConfigError("`instruction` is empty; tell the VLA what to do")


def task_names() -> list[str]:
    """Names of the tasks that are shipped."""
    return shipped("tasks")


def load_task(name_or_path: str | Path) -> TaskProfile:
    """The task with a name in ``config/tasks/``, or in a file of one's own (``….yaml``).

    Raises:
        ConfigError: there is none, or what it says cannot be; the message names file, key and what is allowed.
    """
    path = require_yaml_file("tasks", "task", name_or_path)
    task = build(TaskProfile, read_yaml(path), origin=str(path))
    if task.name != path.stem:
        raise ConfigError(f"{path}: `name` is {task.name}; it must be {path.stem}, the file's name")
    return task
