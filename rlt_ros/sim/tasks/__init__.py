"""Precision tasks of the simulator."""

from __future__ import annotations

from rlt_ros.sim.tasks.base import Task
from rlt_ros.sim.tasks.charger import Charger
from rlt_ros.sim.tasks.ethernet import Ethernet
from rlt_ros.sim.tasks.screw import Screw
from rlt_ros.store.parameters import ConfigError

TASKS: dict[str, Task] = {task.name: task for task in (Charger(), Ethernet(), Screw())}

__all__ = ["TASKS", "Charger", "Ethernet", "Screw", "Task", "simulated"]


def simulated(name: str) -> Task:
    """Task of a name.

    Raises:
        ConfigError: the simulator has no scene for it.
    """
    if name not in TASKS:
        raise ConfigError(
            f"task `{name}`: the simulator has scenes for {', '.join(TASKS)} only; use one of these names (your own "
            "task file may have it, too), or run without the simulator (`sim` false)"
        )
    return TASKS[name]
