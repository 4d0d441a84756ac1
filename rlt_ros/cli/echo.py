"""``rlt-ros echo``: print the messages of a topic."""

from __future__ import annotations

import argparse
from typing import Any

from rlt_ros.cli.options import SubParsers, add_command, add_timeout, positive_int

# Printed elements of a sequence without `--full`.
_MAX_ELEMENTS = 16


def add_parser(subparsers: SubParsers) -> None:
    """Add ``echo`` to the command line."""
    parser = add_command(
        subparsers,
        "echo",
        summary="print the messages of a topic",
        description="""\
Prints the messages of a topic as YAML until Ctrl-C or --count. The type and the quality of
service are those of its publishers; a latched topic prints its last message at once.""",
        examples="""\
  rlt-ros echo /joint_states
  rlt-ros echo episode_state --count 1 --json | tail -n 1""",
    )
    parser.add_argument("topic", metavar="TOPIC", help="name of the topic")
    parser.add_argument("--count", type=positive_int, metavar="N", help="stop after N messages")
    parser.add_argument("--full", action="store_true", help="print long sequences in full")
    add_timeout(parser, "a publisher")
    parser.set_defaults(run=run, present=present)


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Print messages on arrival, or with ``--json`` return them."""
    import yaml

    from rlt_ros.cli.graph_view import observer, wait_for_topic
    from rlt_ros.middleware.messages import message_type

    messages: list[dict[str, Any]] = []
    received = 0

    def show(message: Any) -> None:
        nonlocal received
        received += 1
        values = plain(message, None if args.full else _MAX_ELEMENTS)
        if args.json:
            messages.append(values)
        else:
            print(yaml.safe_dump(values, sort_keys=False, allow_unicode=True) + "---", flush=True)

    with observer() as (node, executor):
        topic = node.resolve_topic_name(args.topic)
        name, qos = wait_for_topic(node, executor, topic, args.timeout)
        node.create_subscription(message_type(name), topic, show, qos)
        while args.count is None or received < args.count:
            executor.spin_once()
    return {"topic": topic, "type": name, "messages": messages}


def present(result: dict[str, Any]) -> None:
    """Print nothing: the messages were printed on arrival."""


def plain(value: Any, limit: int | None) -> Any:
    """Plain values of a message; sequences of more than ``limit`` elements are cut, with a note."""
    if hasattr(value, "get_fields_and_field_types"):
        return {name: plain(getattr(value, name), limit) for name in value.get_fields_and_field_types()}
    if isinstance(value, bytes):
        return int.from_bytes(value, "little")
    if isinstance(value, (str, bool, int, float)):
        return value
    items = [plain(item, limit) for item in (value[:limit] if limit else value)]
    items = [item.item() if hasattr(item, "item") else item for item in items]
    return [*items, f"… {len(value)} in all"] if limit and len(value) > limit else items
