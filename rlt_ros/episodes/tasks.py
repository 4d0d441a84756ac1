"""Task profiles: instruction and step limits, one YAML file per task in ``config/tasks/``."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from rlt_ros.share import require_yaml_file, shipped
from rlt_ros.store.parameters import ConfigError, build, check, parameter, read_yaml


@dataclasses.dataclass(frozen=True)
class TaskProfile:
    """Task of an episode."""

    name: str = parameter(dataclasses.MISSING, help="Name of the task, equal to the file's.")
    instruction: str = parameter(dataclasses.MISSING, help="Instruction for the VLA.")
    approach_steps: int = parameter(
        200, help="Largest number of control steps of the VLA's approach.", unit="steps", low=1
    )
    critical_steps: int = parameter(
        200, help="Largest number of control steps of the critical phase.", unit="steps", low=1
    )

    def __post_init__(self) -> None:
        check(self)
        if not self.instruction.strip():
            raise ConfigError("`instruction` is empty; give the VLA an instruction")


def task_names() -> list[str]:
    """Names of the included tasks."""
    return shipped("tasks")


def load_task(name_or_path: str | Path) -> TaskProfile:
    """Load a task by its name in ``config/tasks/`` or by the path of a file (``….yaml``).

    Raises:
        ConfigError: the file is missing or invalid; the message names file, key and allowed values.
    """
    path = require_yaml_file("tasks", "task", name_or_path)
    task = build(TaskProfile, read_yaml(path), origin=str(path))
    if task.name != path.stem:
        raise ConfigError(f"{path}: `name` is {task.name}; it must be {path.stem}, the file's name")
    return task
