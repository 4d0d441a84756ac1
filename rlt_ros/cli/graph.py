"""``rlt-ros graph``: nodes, topics, types and rates of the running graph."""

from __future__ import annotations

import argparse
from collections import Counter
from typing import Any

from rlt_ros.cli.options import SubParsers, add_command, positive_float


def add_parser(subparsers: SubParsers) -> None:
    """Add ``graph`` to the command line."""
    parser = add_command(
        subparsers,
        "graph",
        summary="show the nodes, topics, types and rates of the running graph",
        description="""\
Observes the graph for some time: every node, and every topic with its type, publishers,
subscriptions, and messages and bytes per second. It sees all ROS 2 nodes on the same
ROS_DOMAIN_ID, with or without ROS 2 on this computer. A latched topic has no rate.""",
        examples="""\
  rlt-ros graph
  rlt-ros graph --seconds 10 --json | tail -n 1""",
    )
    parser.add_argument(
        "--seconds",
        type=positive_float,
        default=3.0,
        metavar="S",
        help="duration of the observation (default: 3)",
    )
    parser.set_defaults(run=run, present=present)


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Return nodes and topics of the graph."""
    from rlt_ros.cli.graph_view import observe_graph

    return observe_graph(args.seconds)


def present(result: dict[str, Any]) -> None:
    """Print nodes, then a table of topics."""
    from rlt_ros.cli.output import number, print_table

    print_table(("node",), [(name,) for name in result["nodes"]])
    print_table(
        ("topic", "type", "from", "to", "msgs/s", "kB/s"),
        [
            (
                topic["name"],
                " | ".join(topic["types"]),
                _lines(topic["publishers"]),
                _lines(topic["subscriptions"]),
                number(topic["rate"], 1),
                number(topic["bytes_per_second"] and topic["bytes_per_second"] / 1e3, 1),
            )
            for topic in result["topics"]
        ],
    )


def _lines(nodes: list[str]) -> str:
    """One line per node, with the number of its endpoints if it has several."""
    return "\n".join(node if count == 1 else f"{node} ×{count}" for node, count in Counter(nodes).items())
