"""The graph of `rlt_ros.bringup` for ``ros2 launch``: what `launch/*.launch.py` consist of. Needs ROS 2."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import Any

from launch import LaunchContext, LaunchDescription
from launch.actions import (
    DeclareLaunchArgument,
    EmitEvent,
    LogInfo,
    OpaqueFunction,
    RegisterEventHandler,
    SetEnvironmentVariable,
    TimerAction,
)
from launch.event_handlers import OnProcessExit
from launch.events import Shutdown
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

from rlt_ros.bringup import (
    MISCONFIGURED,
    Arguments,
    NodeSpec,
    as_text,
    from_text,
    graph,
    simulates,
    with_run,
)
from rlt_ros.preflight import WRITING_MODES
from rlt_ros.rlt.parameters import describe
from rlt_ros.run_id import local_discovery, note_run

_BACK_OFF = 2.0  # s before a node that died is started again
_STOP_PATIENCE = "20"  # s from SIGINT to SIGTERM, and on to SIGKILL; in that time a replay syncs its file


def description(mode: str) -> LaunchDescription:
    """The launch description of a mode, with every argument of :class:`rlt_ros.bringup.Arguments`."""
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
    specs = graph(mode, arguments)
    if arguments.run_id and mode in WRITING_MODES:
        note_run(Path(arguments.out).expanduser(), arguments.run_id, mode)
    unfinished = {spec.label for spec in specs if spec.ends_graph}
    local = local_discovery(os.environ) if simulates(specs) else {}
    return [
        *(SetEnvironmentVariable(name, value) for name, value in local.items()),
        *(action for spec in specs for action in _supervised(spec, unfinished)),
    ]


def _supervised(spec: NodeSpec, unfinished: set[str]) -> list[Any]:
    """A node, and what follows from its end; ``unfinished`` are those that end the graph together."""
    if spec.keys:
        line = " ".join(
            ["ros2", "run", spec.package, spec.executable, *map(shlex.quote, spec.command_line())]
        )
        return [LogInfo(msg=f"{spec.label} needs the keys of a terminal; start it in one of its own: {line}")]
    node = Node(
        package=spec.package,
        executable=spec.executable,
        arguments=spec.command_line(),
        output="screen",
        sigterm_timeout=_STOP_PATIENCE,
        sigkill_timeout=_STOP_PATIENCE,
    )

    def ended(event: Any, context: LaunchContext) -> list[Any]:
        if context.is_shutdown:
            return []
        if event.returncode == 0 and spec.ends_graph:
            unfinished.discard(spec.label)
            return [] if unfinished else [EmitEvent(event=Shutdown(reason=f"{spec.label} is done"))]
        if spec.restart and event.returncode != MISCONFIGURED:
            text = f"{spec.label} ended with status {event.returncode}; it starts again in {_BACK_OFF:g} s"
            return [LogInfo(msg=text), TimerAction(period=_BACK_OFF, actions=_supervised(spec, unfinished))]
        if spec.critical or spec.ends_graph:
            return [EmitEvent(event=Shutdown(reason=f"nothing works without {spec.label}"))]
        return [LogInfo(msg=f"{spec.label} ended with status {event.returncode}")]

    return [RegisterEventHandler(OnProcessExit(target_action=node, on_exit=ended)), node]
