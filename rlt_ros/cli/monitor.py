"""``rlt-ros monitor``: the running graph in the terminal."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from typing import Any

from rlt_ros.cli.options import SubParsers, add_command, add_namespace, positive_float

_REFRESH = 0.25  # s

EXIT_NO_GRAPH = 1
"""Nothing of a graph was seen."""


def add_parser(subparsers: SubParsers) -> None:
    """Add ``monitor`` to the command line."""
    parser = add_command(
        subparsers,
        "monitor",
        summary="watch the running graph: episode, success, learner, rates, diagnostics",
        description="""\
Shows live what the graph does: episode and phase, who acts, success rate, control rate and
latency, replay, learner with Q, β and the update debt, and what the nodes report. It only
listens, on the same ROS_DOMAIN_ID, with or without ROS 2 installed here. Ctrl-C ends it. The exit
status is 1 if no graph was seen.""",
        examples="""\
  rlt-ros monitor
  rlt-ros monitor --namespace left
  rlt-ros monitor --seconds 5 --json | tail -n 1""",
    )
    add_namespace(parser)
    parser.add_argument(
        "--seconds", type=positive_float, metavar="S", help="how long to watch (default: until Ctrl-C)"
    )
    parser.set_defaults(run=run, present=present, status=status)


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Watch, and return the figures of the last moment."""
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
                executor.spin_once(timeout_sec=_REFRESH)
                if now - shown > _REFRESH:
                    seen = seen or _publishes(node, topics)
                    live.update(view.render() if seen else _no_graph(args.namespace), refresh=True)
                    shown = now
        except KeyboardInterrupt:
            pass  # how one stops watching
        live.update(view.render(), refresh=True)
        seen = seen or _publishes(node, topics)
    return {**view.figures(), "namespace": args.namespace, "graph": seen}


def status(result: dict[str, Any]) -> int:
    """1 where there was no graph."""
    return 0 if result["graph"] else EXIT_NO_GRAPH


def present(result: dict[str, Any]) -> None:
    """Print a hint where there was no graph; all else was shown as it happened."""
    if not result["graph"]:
        print(_no_graph(result["namespace"]), file=sys.stderr)


def _no_graph(namespace: str) -> str:
    domain = os.environ.get("ROS_DOMAIN_ID", "").strip() or "0"
    of_robot = f" of a robot in namespace {namespace}" if namespace else ""
    return (
        f"no graph{of_robot} is seen in ROS_DOMAIN_ID {domain}; start one with `rlt-ros launch train`, or give the "
        "ROS_DOMAIN_ID and the --namespace of one that runs"
    )


def _publishes(node: Any, topics: Sequence[str]) -> bool:
    """Return whether a node of a graph is there."""
    return any(node.get_publishers_info_by_topic(topic) for topic in topics)


def _subscribe(node: Any, view: Any, namespace: str) -> list[str]:
    """Subscribe to what is shown; returns the topics that only a graph publishes."""
    from rlt_ros.middleware.messages import (
        ActionChunk,
        DiagnosticArray,
        EpisodeState,
        ExecutedStep,
        LearnerStatus,
        ReplayStatus,
    )
    from rlt_ros.nodes import qos

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
