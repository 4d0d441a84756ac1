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
Looks at the graph for a while: every node, and every topic with its type, who publishes and
subscribes, and how many messages and bytes a second pass. It sees whatever speaks ROS 2 on the
same ROS_DOMAIN_ID, with or without ROS 2 installed here. A latched topic has no rate.""",
        examples="""\
  rlt-ros graph
  rlt-ros graph --seconds 10 --json | tail -n 1""",
    )
    parser.add_argument(
        "--seconds", type=positive_float, default=3.0, metavar="S", help="how long to look (default: 3)"
    )
    parser.set_defaults(run=run, present=present)


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Look at the graph and return what is there."""
    from rlt_ros.cli.graph_view import look

    return look(args.seconds)


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
                _counted(topic["publishers"]),
                _counted(topic["subscriptions"]),
                number(topic["rate"], 1),
                number(topic["bytes_per_second"] and topic["bytes_per_second"] / 1e3, 1),
            )
            for topic in result["topics"]
        ],
    )


def _counted(nodes: list[str]) -> str:
    """One line a node, with the number of its endpoints where it has several."""
    return "\n".join(node if count == 1 else f"{node} ×{count}" for node, count in Counter(nodes).items())
