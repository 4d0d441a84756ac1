"""``rlt-ros monitor``: the running graph in the terminal."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from typing import Any

from rlt_ros.cli.options import SubParsers, add_command, add_namespace, positive_float

# s
_REFRESH_PERIOD = 0.25

EXIT_NO_GRAPH = 1
"""Exit status without a graph."""


def add_parser(subparsers: SubParsers) -> None:
    """Add ``monitor`` to the command line."""
    parser = add_command(
        subparsers,
        "monitor",
        summary="watch the running graph: episode, success, learner, rates, diagnostics",
        description="""\
Shows the state of the graph live: episode and phase, acting source, success rate, control rate
and latency, replay, learner with Q, β and the update debt, and diagnostics. It only subscribes,
on the same ROS_DOMAIN_ID, with or without ROS 2 on this computer. Ctrl-C ends it. The exit
status is 1 without a graph.""",
        examples="""\
  rlt-ros monitor
  rlt-ros monitor --namespace left
  rlt-ros monitor --seconds 5 --json | tail -n 1""",
    )
    add_namespace(parser)
    parser.add_argument(
        "--seconds", type=positive_float, metavar="S", help="duration (default: until Ctrl-C)"
    )
    parser.set_defaults(run=run, present=present, status=status)


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Show the state until the end, and return the last figures."""
    from rich.console import Console
    from rich.live import Live

    from rlt_ros.cli.graph_view import observer
    from rlt_ros.cli.monitor_view import GraphView

    view = GraphView()
    console = Console(stderr=True, quiet=args.json)
    with observer() as (node, executor), Live(view.render(), console=console, auto_refresh=False) as live:
        topics = _subscribe(node, view, args.namespace.strip("/"))
        seen = False
        end = float("inf") if args.seconds is None else time.monotonic() + args.seconds
        shown = 0.0
        try:
            while (now := time.monotonic()) < end:
                executor.spin_once(timeout_sec=_REFRESH_PERIOD)
                if now - shown > _REFRESH_PERIOD:
                    seen = seen or _publishes(node, topics)
                    live.update(view.render() if seen else _no_graph(args.namespace), refresh=True)
                    shown = now
        except KeyboardInterrupt:
            # The usual end.
            pass
        live.update(view.render(), refresh=True)
        seen = seen or _publishes(node, topics)
    return {**view.figures(), "namespace": args.namespace, "graph": seen}


def status(result: dict[str, Any]) -> int:
    """Exit status: 1 without a graph."""
    return 0 if result["graph"] else EXIT_NO_GRAPH


def present(result: dict[str, Any]) -> None:
    """Print a hint without a graph; all else was shown live."""
    if not result["graph"]:
        print(_no_graph(result["namespace"]), file=sys.stderr)


def _no_graph(namespace: str) -> str:
    domain = os.environ.get("ROS_DOMAIN_ID", "").strip() or "0"
    of_robot = f" of a robot in namespace {namespace}" if namespace else ""
    return (
        f"no graph{of_robot} in ROS_DOMAIN_ID {domain}; start one with `rlt-ros launch train`, or give the "
        "ROS_DOMAIN_ID and the --namespace of a running one"
    )


def _publishes(node: Any, topics: Sequence[str]) -> bool:
    """Return whether a node publishes one of the topics."""
    return any(node.get_publishers_info_by_topic(topic) for topic in topics)


def _subscribe(node: Any, view: Any, namespace: str) -> list[str]:
    """Subscribe to the displayed topics; return those that only a graph publishes."""
    from rlt_ros.middleware.messages import (
        ActionChunk,
        DiagnosticArray,
        EpisodeState,
        ExecutedStep,
        LearnerStatus,
        ReplayStatus,
    )
    from rlt_ros.ros import qos

    prefix = f"/{namespace}/" if namespace else "/"
    node.create_subscription(EpisodeState, f"{prefix}rlt/episode_state", view.on_episode, qos.EPISODE_STATE)
    node.create_subscription(ExecutedStep, f"{prefix}rlt/executed_step", view.on_step, qos.EXECUTED_STEP)
    node.create_subscription(ActionChunk, f"{prefix}rlt/action_chunk", view.on_chunk, qos.ACTION_CHUNK)
    # All robots share these.
    node.create_subscription(ReplayStatus, "/rlt/replay_status", view.on_replay, qos.REPLAY_STATUS)
    node.create_subscription(LearnerStatus, "/rlt/learner_status", view.on_learner, qos.LEARNER_STATUS)
    node.create_subscription(DiagnosticArray, "/diagnostics", view.on_diagnostics, qos.DIAGNOSTICS)
    return [
        f"{prefix}rlt/episode_state",
        f"{prefix}rlt/executed_step",
        "/rlt/replay_status",
        "/rlt/learner_status",
    ]
