"""``rlt-ros launch``: run the graph as plain processes, with or without ROS 2."""

from __future__ import annotations

import argparse
import dataclasses
import json
import shutil
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlt_ros.bringup import (
    MODES,
    Arguments,
    LaunchError,
    NodeSpec,
    as_text,
    from_text,
    graph,
    stop_order,
    with_run,
)
from rlt_ros.bringup.progress import has_report, is_trained, stopped_text
from rlt_ros.cli.options import SubParsers, add_command
from rlt_ros.learning.run_folder import REPORT_FILE, finished_summary
from rlt_ros.preflight import WRITING_MODES, check_arguments
from rlt_ros.run_id import note_run
from rlt_ros.store.interruption import Interrupted, raise_on_request, stop_on_request
from rlt_ros.store.parameters import ConfigError, describe
from rlt_ros.store.run_lock import RunLock
from rlt_ros.store.stopwatch import Stopwatch

if TYPE_CHECKING:
    from rlt_ros.bringup.supervisor import OutputLine

_COLOURS = (
    "cyan",
    "green",
    "magenta",
    "blue",
    "bright_cyan",
    "bright_green",
    "bright_magenta",
    "bright_blue",
)


# Nodes that write the results of a run when they are stopped; a failure loses results.
_WRITING_NODES = ("replay_node", "learner_node")


def add_parser(subparsers: SubParsers) -> None:
    """Add ``launch`` to the command line."""
    modes = "\n".join(f"  {mode:<8} {meaning}" for mode, meaning in MODES.items())
    parser = add_command(
        subparsers,
        "launch",
        summary="run the graph of nodes: train, deploy, collect, offline, monitor or sim",
        description=f"""\
Starts the nodes of a mode as separate processes, which communicate over DDS, and prints their
output. One Ctrl-C stops all of them in order, a second one at once, with exit status 130; the
same command continues. A node that dies is reported and restarted.
The same graph as `ros2 launch rlt_ros MODE.launch.py`, without ROS 2.

modes:
{modes}""",
        examples="""\
  rlt-ros launch train --task charger --out runs/charger
  rlt-ros launch sim                                   the robot alone
  rlt-ros launch train --sim false --robot my_arm.yaml --teleop joy
  rlt-ros launch deploy --out runs/charger --episodes 20
  rlt-ros launch offline --bag runs/monday/bag --out runs/offline
  rlt-ros launch train --namespace left,right          two robots, one learner""",
    )
    parser.add_argument("mode", choices=MODES, metavar="MODE", help=" | ".join(MODES))
    for description in describe(Arguments):
        name = description.name
        allowed = f" ({description.range})" if description.choices else ""
        parser.add_argument(
            f"--{name.replace('_', '-')}",
            dest=name,
            metavar=_metavar(description.type),
            help=f"{description.help}{allowed} (default: {as_text(description.default) or 'none'})".replace(
                "%", "%%"
            ),
        )
    parser.add_argument(
        "--list", action="store_true", help="print the nodes and their parameters without starting them"
    )
    parser.set_defaults(run=run, present=present, resumable=True)


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Run the graph until it is done or stopped; return the end of each node.

    Raises:
        Interrupted: it was stopped before the end.
    """
    names = {field.name for field in dataclasses.fields(Arguments)}
    given = {name: value for name, value in vars(args).items() if name in names and value is not None}
    arguments = from_text(given, origin="command line")
    if not args.list:
        check_arguments(args.mode, arguments)
        arguments = with_run(args.mode, arguments)
    specs = graph(args.mode, arguments)
    if args.list:
        return {"mode": args.mode, "nodes": [dataclasses.asdict(spec) for spec in specs]}
    commands = {spec.label: command(spec) for spec in specs}
    if args.mode not in WRITING_MODES:
        # Imported here: it loads the middleware, and help must be quick.
        from rlt_ros.ros.exclusivity import join_domain

        specs = join_domain(specs, watches=args.mode == "monitor")
        return _run_nodes(args.mode, arguments, specs, commands)
    with raise_on_request():
        try:
            return _run_in_folder(args.mode, arguments, specs, commands)
        except KeyboardInterrupt:
            raise Interrupted(stopped_text(args.mode, arguments)) from None


def _run_in_folder(
    mode: str, arguments: Arguments, specs: Sequence[NodeSpec], commands: Mapping[str, list[str]]
) -> dict[str, Any]:
    """Continue the run in its folder, which is locked meanwhile."""
    folder = Path(arguments.out).expanduser()
    reports = mode == "train" and has_report(arguments)
    trained = reports and is_trained(arguments)
    if not trained:
        from rlt_ros.ros.exclusivity import join_domain

        join_domain(specs)
    result: dict[str, Any] = {"mode": mode, "nodes": {}}
    lock = RunLock(folder)
    try:
        done = finished_summary(folder, arguments.robot_minutes, arguments.eval_episodes) if reports else None
        if done is not None:
            return {**result, "summary": done, "report": str(folder / REPORT_FILE)}
        stopwatch = Stopwatch(folder)
        try:
            if not trained:
                note_run(folder, arguments.run_id, mode)
                result = _run_nodes(mode, arguments, specs, commands, stopwatch.keep)
            if reports:
                result["summary"] = _conclude(arguments, stopwatch)
                result["report"] = str(folder / REPORT_FILE)
        finally:
            stopwatch.save()
        return result
    finally:
        lock.release()


def _run_nodes(
    mode: str,
    arguments: Arguments,
    specs: Sequence[NodeSpec],
    commands: Mapping[str, list[str]],
    pulse: Callable[[], None] = lambda: None,
) -> dict[str, Any]:
    """Run the processes of the graph to their end, with calls of ``pulse``; return the end of each."""
    from rlt_ros.bringup.child_process import Process
    from rlt_ros.bringup.supervisor import Supervisor, status_text

    processes = [
        Process(
            spec.label,
            commands[spec.label],
            spec.restart,
            spec.critical,
            spec.ends_graph,
            spec.keys,
            unblocks=spec.package == "rlt_ros",
        )
        for spec in specs
    ]
    order = [spec.label for spec in stop_order(list(specs))]
    show = _printer([spec.label for spec in specs])
    supervisor = Supervisor(processes, stop_order=order, show=show, pulse=pulse)
    print(
        f"starting {len(specs)} nodes; loading takes a while, Ctrl-C stops them"
        + ("" if mode in ("sim", "monitor") else f"; the run is in {Path(arguments.out).expanduser()}"),
        file=sys.stderr,
    )
    for spec in specs:
        spec.write_files()
    exits = supervisor.run()
    finite = any(spec.ends_graph for spec in specs) and (
        mode in ("train", "offline") or arguments.episodes > 0
    )
    if supervisor.interrupted and finite:
        raise Interrupted
    writers = {spec.label for spec in specs if spec.executable in _WRITING_NODES}
    if lost := [
        (label, one)
        for label, one in exits.items()
        if one.gave_up or (label in writers and (one.status or 0) > 0)
    ]:
        raise LaunchError(
            "; ".join(f"{label}: {one.last_words or status_text(one.status)}" for label, one in lost)
        )
    result: dict[str, Any] = {
        "mode": mode,
        "nodes": {name: dataclasses.asdict(one) for name, one in exits.items()},
    }
    if mode == "deploy":
        result["deployed"] = {
            spec.namespace or arguments.robot: _success_statistics(spec, arguments)
            for spec in specs
            if spec.ends_graph
        }
    return result


def present(result: dict[str, Any]) -> None:
    """Print the restarts of the nodes and the results, or with ``--list`` the nodes."""
    from rlt_ros.cli.output import print_table
    from rlt_ros.cli.summary import present_outcomes, present_summary

    if isinstance(result["nodes"], list):
        for node in result["nodes"]:
            spec = NodeSpec(**node)
            print(f"{spec.label}: {spec.package} {spec.executable}")
            for name, value in spec.parameters.items():
                print(f"    {name}: {json.dumps(value)}")
            for old, new in spec.remappings:
                print(f"    {old} → {new}")
        return
    restarts = {name: node["restarts"] for name, node in result["nodes"].items() if node["restarts"]}
    if restarts:
        print_table(("node", "restarts"), [(name, str(count)) for name, count in restarts.items()])
    if "summary" in result:
        present_summary(result["summary"])
        print(result["report"])
    if deployed := {robot: outcome for robot, outcome in result.get("deployed", {}).items() if outcome}:
        present_outcomes(deployed, title="without interventions")


def command(spec: NodeSpec) -> list[str]:
    """Command line that starts a node.

    Raises:
        ConfigError: it needs ROS 2, and ROS 2 is not sourced.
    """
    if spec.package == "rlt_ros":
        start = [sys.executable, "-m", "rlt_ros.nodes.start", spec.executable]
    elif shutil.which("ros2"):
        start = ["ros2", "run", spec.package, spec.executable]
    else:
        raise ConfigError(
            f"{spec.label} is `{spec.executable}` of the ROS 2 package {spec.package}, and ROS 2 is not sourced; "
            "source it, or leave the node out"
        )
    return [*start, *spec.command_line()]


def _conclude(arguments: Arguments, stopwatch: Stopwatch) -> dict[str, Any]:
    """Make films, comparison with the demonstrator, summary and report of the run."""
    from rlt_ros.sim.opengl import ensure_opengl

    print(
        f"comparing with the demonstrator on the same {arguments.eval_episodes} starts, filming, writing the report",
        file=sys.stderr,
    )
    with stop_on_request() as request:
        # Before the import of MuJoCo, which chooses its backend once.
        ensure_opengl()
        from rlt_ros.experiments.conclusion import conclude

        return conclude(
            Path(arguments.out).expanduser(),
            robot_minutes=arguments.robot_minutes,
            stopwatch=stopwatch,
            poll=request.poll,
        )


def _success_statistics(episode_node: NodeSpec, arguments: Arguments) -> dict[str, Any] | None:
    """Success statistics of a robot's episodes; None without episodes."""
    from rlt_ros.learning.run_folder import EPISODE_KEYS, EPISODES_FILE, unaided
    from rlt_ros.report.statistics import as_long_as_a_timeout, summarise
    from rlt_ros.robots.profile import load_profile
    from rlt_ros.store.journal import Journal

    folder = Path(episode_node.parameters["out"]).expanduser()
    if not (folder / EPISODES_FILE).exists():
        return None
    journal = Journal(folder / EPISODES_FILE, EPISODE_KEYS)
    records = journal.records
    journal.close()
    if not records:
        return None
    steps = as_long_as_a_timeout([record["steps"] for record in records])
    hz = load_profile(arguments.robot).control_hz
    return {
        **summarise([unaided(record) for record in records], steps, hz=hz).as_dict(),
        "folder": str(folder),
    }


def _printer(labels: Sequence[str]) -> Callable[[OutputLine], None]:
    """Printer of lines with the time and a coloured label, in columns."""
    from rich.console import Console
    from rich.text import Text

    console = Console(stderr=True, soft_wrap=True, highlight=False)
    width = max(len(label) for label in labels)
    colour = {label: _COLOURS[index % len(_COLOURS)] for index, label in enumerate(labels)}
    style = {"WARN": "yellow", "ERROR": "red", "FATAL": "bold red", "DEBUG": "dim", "EVENT": "bold"}

    def show(line: OutputLine) -> None:
        text = Text(time.strftime("%H:%M:%S "), style="dim")
        text.append(f"{line.label:<{width}} │ ", style=colour.get(line.label, "bold"))
        text.append(line.text, style=style.get(line.level, ""))
        console.print(text)

    return show


def _metavar(kind: str) -> str:
    return {"bool": "true|false", "int": "N", "float": "N"}.get(kind, "TEXT")
