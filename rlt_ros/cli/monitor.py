"""``rlt-ros monitor``: the running graph in the terminal."""

from __future__ import annotations

import argparse
import time
from typing import Any

from rlt_ros.cli.options import SubParsers, add_command, add_namespace, positive_float

_REFRESH = 0.25  # s


def add_parser(subparsers: SubParsers) -> None:
    """Add ``monitor`` to the command line."""
    parser = add_command(
        subparsers,
        "monitor",
        summary="watch the running graph: episode, success, learner, rates, diagnostics",
        description="""\
Shows live what the graph does: episode and phase, who acts, success rate, control rate and
latency, replay, learner with Q, β and the update debt, and what the nodes report. It only
listens, on the same ROS_DOMAIN_ID, with or without ROS 2 installed here. Ctrl-C ends it.""",
        examples="""\
  rlt-ros monitor
  rlt-ros monitor --namespace left
  rlt-ros monitor --seconds 5 --json | tail -n 1""",
    )
    add_namespace(parser)
    parser.add_argument(
        "--seconds", type=positive_float, metavar="S", help="how long to watch (default: until Ctrl-C)"
    )
    parser.set_defaults(run=run, present=present)


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Watch, and return the figures of the last moment."""
    from rich.console import Console
    from rich.live import Live

    from rlt_ros.cli.graph_view import observer
    from rlt_ros.cli.monitor_view import GraphView

    view = GraphView()
    console = Console(stderr=True, quiet=args.json)
    with observer() as (node, executor), Live(view.render(), console=console, auto_refresh=False) as live:
        _subscribe(node, view, args.namespace.strip("/"))
        end = float("inf") if args.seconds is None else time.monotonic() + args.seconds
        shown = 0.0
        try:
            while (now := time.monotonic()) < end:
                executor.spin_once(timeout_sec=_REFRESH)
                if now - shown > _REFRESH:
                    live.update(view.render(), refresh=True)
                    shown = now
        except KeyboardInterrupt:
            pass  # how one stops watching
        live.update(view.render(), refresh=True)
    return view.figures()


def present(result: dict[str, Any]) -> None:
    """Nothing is left to print: it was shown as it happened."""


def _subscribe(node: Any, view: Any, namespace: str) -> None:
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
