"""The precision tasks of the simulator."""

from __future__ import annotations

from rlt_ros.sim.tasks.base import Task
from rlt_ros.sim.tasks.charger import Charger
from rlt_ros.sim.tasks.ethernet import Ethernet
from rlt_ros.sim.tasks.screw import Screw

TASKS: dict[str, Task] = {task.name: task for task in (Charger(), Ethernet(), Screw())}

__all__ = ["TASKS", "Charger", "Ethernet", "Screw", "Task"]
