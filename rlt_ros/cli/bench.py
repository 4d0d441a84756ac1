"""``rlt-ros bench``: measure the parts that decide how fast learning goes, beside the best known peers."""

from __future__ import annotations

import argparse
import importlib
from typing import Any

from rlt_ros.cli.options import SubParsers, add_command, positive_float

BENCHMARKS = {
    "learner": "updates a second at the paper's size, beside torchrl and Stable-Baselines3",
    "replay": "batches a second from the durable ring, beside torchrl's memory-mapped buffer",
    "sim": "simulated seconds a second on one core, with and without cameras",
    "actor": "latency of one decision, from pictures to chunk",
    "latency": "punctuality of the control loop, and how long a picture and a human wait for a command",
}

DRAWING = ("sim", "actor")
"""Benchmarks that take pictures."""


def add_parser(subparsers: SubParsers) -> None:
    """Add ``bench`` to the command line."""
    lines = "\n".join(f"  {name:<9}{text}" for name, text in BENCHMARKS.items())
    parser = add_command(
        subparsers,
        "bench",
        summary="measure speed beside the best known peers",
        description=f"""\
Speed on this machine. What is compared runs interleaved in one process, so that other load
on the machine falls on all alike.

{lines}""",
        examples="""\
  rlt-ros bench learner
  rlt-ros bench replay --json | tail -n 1
  rlt-ros bench latency --seconds 600 --load 2""",
    )
    parser.add_argument(
        "name", choices=tuple(BENCHMARKS), metavar="|".join(BENCHMARKS), help="what to measure"
    )
    latency = parser.add_argument_group("latency")
    latency.add_argument(
        "--seconds", type=positive_float, default=30.0, help="how long each part is watched (default: 30)"
    )
    latency.add_argument(
        "--load",
        type=int,
        default=0,
        metavar="N",
        help="processes that keep a core busy beside it (default: 0)",
    )
    parser.set_defaults(run=run, present=present)


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Run the benchmark and return its figures."""
    from rlt_ros.sim.opengl import ensure_opengl

    if args.name in DRAWING:
        ensure_opengl()  # before anything imports MuJoCo, which chooses its backend once
    benchmark = importlib.import_module(f"rlt_ros.experiments.bench.{args.name}")
    options = {"seconds": args.seconds, "load": args.load} if args.name == "latency" else {}
    figures: dict[str, Any] = benchmark.run(**options)
    return figures


def present(result: dict[str, Any]) -> None:
    """Print the figures."""
    from rlt_ros.cli.output import print_mapping

    print_mapping(result)
