"""Launch descriptions of the graph for `launch/*.launch.py` and ``ros2 launch``. Needs ROS 2.

``ros2 launch`` runs on the system's Python: imports here need only the standard library, PyYAML and launch.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shlex
from pathlib import Path
from typing import Any

from launch import LaunchContext, LaunchDescription
from launch.actions import (
    DeclareLaunchArgument,
    EmitEvent,
    ExecuteProcess,
    LogInfo,
    OpaqueFunction,
    RegisterEventHandler,
    SetEnvironmentVariable,
    TimerAction,
)
from launch.event_handlers import OnProcessExit
from launch.events import Shutdown, matches_action
from launch.events.process import ShutdownProcess
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

from rlt_ros.bringup import (
    MISCONFIGURED,
    Arguments,
    LaunchError,
    NodeSpec,
    as_text,
    from_text,
    graph,
    simulates,
    with_run,
)
from rlt_ros.bringup.progress import has_report
from rlt_ros.preflight import WRITING_MODES, check_arguments
from rlt_ros.run_id import local_discovery, note_run
from rlt_ros.store.parameters import describe
from rlt_ros.store.run_lock import RunLock

# s before a node that died is restarted.
_RESTART_DELAY = 2.0
# s from SIGINT to SIGTERM, and again to SIGKILL; a replay syncs its file in this time.
_STOP_TIMEOUT = "20"


def description(mode: str) -> LaunchDescription:
    """Launch description of a mode, with every argument of :class:`rlt_ros.bringup.Arguments`."""
    declared = [
        DeclareLaunchArgument(
            one.name,
            default_value=as_text(one.default),
            description=f"{one.help} ({one.range})" if one.range else one.help,
            choices=[str(choice) for choice in one.choices] or None,
        )
        for one in describe(Arguments)
    ]
    return LaunchDescription([*declared, OpaqueFunction(function=_start, args=[mode])])


def _start(context: LaunchContext, mode: str) -> list[Any]:
    values = {one.name: LaunchConfiguration(one.name).perform(context) for one in describe(Arguments)}
    arguments = with_run(mode, from_text(values, origin=f"{mode}.launch.py"))
    check_arguments(mode, arguments)
    return _Launch(mode, arguments, _join_domain(mode, graph(mode, arguments, ros=True))).actions()


def _join_domain(mode: str, specs: list[NodeSpec]) -> list[NodeSpec]:
    """Nodes to start; raise if another graph is in the domain.

    Each node checks that too, but only after loading its libraries. If the system's Python lacks the libraries of this
    check, only the nodes check.
    """
    with contextlib.suppress(ImportError):
        from rlt_ros.ros.exclusivity import join_domain

        return join_domain(specs, watches=mode == "monitor")
    return specs


class _Launch:
    """Nodes of a launch, reactions to their exits, and the report after them.

    Args:
        mode: of `rlt_ros.bringup.MODES`.
        arguments: of the launch, checked.
        specs: nodes to start.
    """

    def __init__(self, mode: str, arguments: Arguments, specs: list[NodeSpec]) -> None:
        self._mode, self._arguments, self._specs = mode, arguments, specs
        self._unfinished = {spec.label for spec in self._specs if spec.ends_graph}
        self._running: dict[str, Node] = {}
        # Running, or to be restarted.
        self._left = {spec.label for spec in self._specs if not spec.keys}
        self._reporting = False
        writes = mode in WRITING_MODES
        self._lock = RunLock(Path(arguments.out).expanduser()) if writes else None

    def actions(self) -> list[Any]:
        """Actions that start every node."""
        if self._arguments.run_id and self._mode in WRITING_MODES:
            note_run(Path(self._arguments.out).expanduser(), self._arguments.run_id, self._mode)
        local = local_discovery(os.environ) if simulates(self._specs) else {}
        return [
            *(SetEnvironmentVariable(name, value) for name, value in local.items()),
            *(action for spec in self._specs for action in self._supervised(spec)),
        ]

    def _supervised(self, spec: NodeSpec) -> list[Any]:
        """Actions that start a node and react to its exit."""
        if self._reporting:
            # The restart became due while the nodes are stopped.
            return []
        if spec.keys:
            command = ["ros2", "run", spec.package, spec.executable, *map(shlex.quote, spec.command_line())]
            text = f"{spec.label} needs the keys of a terminal; start it in another one: {' '.join(command)}"
            return [LogInfo(msg=text)]
        spec.write_files()
        node = Node(
            package=spec.package,
            executable=spec.executable,
            arguments=spec.command_line(),
            output="screen",
            sigterm_timeout=_STOP_TIMEOUT,
            sigkill_timeout=_STOP_TIMEOUT,
        )
        self._running[spec.label] = node

        def ended(event: Any, context: LaunchContext) -> list[Any]:
            self._running.pop(spec.label, None)
            return [] if context.is_shutdown else self._on_exit(spec, event.returncode)

        return [RegisterEventHandler(OnProcessExit(target_action=node, on_exit=ended)), node]

    def _on_exit(self, spec: NodeSpec, status: int) -> list[Any]:
        """Actions after the exit of a node."""
        if self._reporting:
            return [] if self._running else self._report()
        if status == 0 and spec.ends_graph:
            self._unfinished.discard(spec.label)
            return [] if self._unfinished else self._conclude(spec)
        if spec.restart and status != MISCONFIGURED:
            text = f"{spec.label} ended with status {status}; it restarts in {_RESTART_DELAY:g} s"
            return [LogInfo(msg=text), TimerAction(period=_RESTART_DELAY, actions=[self._restart(spec)])]
        if spec.critical or spec.ends_graph:
            # An exception sets the exit status of the launch, which stops the other nodes in order.
            raise LaunchError(f"the graph needs {spec.label}, which ended with status {status}")
        self._left.discard(spec.label)
        if status and not self._left:
            raise LaunchError(f"no node is left; {spec.label} ended with status {status}")
        return [LogInfo(msg=f"{spec.label} ended with status {status}")]

    def _restart(self, spec: NodeSpec) -> OpaqueFunction:
        return OpaqueFunction(function=lambda context: self._supervised(spec))

    def _conclude(self, spec: NodeSpec) -> list[Any]:
        """Stop after the plan is done; of a training with a report, stop the nodes and write it."""
        if self._mode != "train" or not has_report(self._arguments):
            return [EmitEvent(event=Shutdown(reason=f"{spec.label} is done"))]
        self._reporting = True
        if not self._running:
            return self._report()
        return [
            EmitEvent(event=ShutdownProcess(process_matcher=matches_action(node)))
            for node in self._running.values()
        ]

    def _report(self) -> list[Any]:
        """Write the report by ``rlt-ros launch``, which starts no node for a trained run."""
        if self._lock is not None:
            # The process that writes the report takes the lock.
            self._lock.release()
        command = ["ros2", "run", "rlt_ros", "rlt-ros", *_command_line(self._arguments)]
        report = ExecuteProcess(cmd=command, output="screen")

        def ended(event: Any, context: LaunchContext) -> list[Any]:
            if event.returncode:
                raise LaunchError(f"the report could not be written (status {event.returncode})")
            return [EmitEvent(event=Shutdown(reason="the plan is done"))]

        return [RegisterEventHandler(OnProcessExit(target_action=report, on_exit=ended)), report]


def _command_line(arguments: Arguments) -> list[str]:
    """Command line of ``rlt-ros launch train`` with the same arguments."""
    values = {field.name: getattr(arguments, field.name) for field in dataclasses.fields(arguments)}
    given = {**values, "rviz": False}
    options = [f"--{name.replace('_', '-')}={as_text(value)}" for name, value in given.items()]
    return ["launch", "train", *options]
