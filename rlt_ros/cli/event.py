"""``rlt-ros event``: publish an event of the running episode, without a device with buttons."""

from __future__ import annotations

import argparse
import time
from typing import Any

from rlt_ros.cli.options import SubParsers, add_command, add_namespace, add_timeout

EVENTS = {
    "start": "begin an episode, if `auto_start` of episode_node is false",
    "reset_done": "the scene is ready; ends the reset of an episode on a real robot",
    "hand_over": "begin the critical phase; in the approach",
    "success": "the task is done; in the critical phase",
    "failure": "the task has failed; in the critical phase",
    "abort": "end the episode without a label",
    "re_record": "discard the episode and repeat it",
    "stop": "begin no further episode",
}
"""Event, in capitals in ``EpisodeEvent.msg`` → its meaning."""

_TOPIC = "rlt/episode_event"
# s, polling period of the discovery.
_POLL_PERIOD = 0.05
# s in which further subscribers are discovered after the first.
_DISCOVERY_TIME = 0.3


class NoSubscriber(ValueError):
    """Event without a subscriber, or without a confirmation."""


def add_parser(subparsers: SubParsers) -> None:
    """Add ``event`` to the command line."""
    meanings = "\n".join(f"  {name:<10} {meaning}" for name, meaning in EVENTS.items())
    parser = add_command(
        subparsers,
        "event",
        summary="publish an event of the running episode: scene ready, success, failure, …",
        description=f"""\
Publishes one event of the running episode, like a button of a teleoperation device, and waits
until the graph has received it. An event without a meaning in the episode's phase is ignored;
`rlt-ros monitor` shows the phase. The e-stop is not an event: it has its own topic.

events:
{meanings}""",
        examples="""\
  rlt-ros event reset_done                             the socket is back in place
  rlt-ros event success --namespace left               of the robot in that namespace
  rlt-ros event abort --reason "the cable came off\"""",
    )
    parser.add_argument("event", choices=EVENTS, metavar="EVENT", help=" | ".join(EVENTS))
    add_namespace(parser)
    parser.add_argument("--reason", default="", metavar="TEXT", help="text for the log")
    add_timeout(parser, "a subscriber")
    parser.set_defaults(run=run, present=present)


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Publish the event to its subscribers; return them.

    Raises:
        NoSubscriber: the topic has none in time, or one did not confirm.
    """
    from rlt_ros.cli.graph_view import observer
    from rlt_ros.middleware import Duration
    from rlt_ros.middleware.messages import EpisodeEvent
    from rlt_ros.ros import qos

    namespace = args.namespace.strip("/")
    topic = f"/{namespace}/{_TOPIC}" if namespace else f"/{_TOPIC}"
    with observer() as (node, executor):
        publisher = node.create_publisher(EpisodeEvent, topic, qos.EPISODE_EVENT)
        end = time.monotonic() + args.timeout
        while not publisher.get_subscription_count():
            if time.monotonic() > end:
                raise NoSubscriber(_no_subscriber_text(node, topic, args.timeout))
            executor.spin_once(timeout_sec=_POLL_PERIOD)
        discovered = time.monotonic() + _DISCOVERY_TIME
        while (left := discovered - time.monotonic()) > 0:
            executor.spin_once(timeout_sec=left)
        subscribers = sorted(
            f"{one.node_namespace.rstrip('/')}/{one.node_name}"
            for one in node.get_subscriptions_info_by_topic(topic)
        )
        # Without a stamp, since simulated time may differ from this computer's, and for the running episode.
        event = getattr(EpisodeEvent, args.event.upper())
        publisher.publish(EpisodeEvent(event=event, origin="operator", reason=args.reason))
        if not publisher.wait_for_all_acked(Duration(seconds=args.timeout)):
            raise NoSubscriber(
                f"{', '.join(subscribers)} did not confirm the event within {args.timeout:g} s; they may be stopped; "
                "`rlt-ros graph` lists the nodes"
            )
    return {"event": args.event, "topic": topic, "heard_by": subscribers}


def present(result: dict[str, Any]) -> None:
    """Print the nodes that received the event."""
    print(f"{result['event']} → {', '.join(result['heard_by'])}")


def _no_subscriber_text(node: Any, topic: str, timeout: float) -> str:
    known = (name for name, _ in node.get_topic_names_and_types() if name.endswith(f"/{_TOPIC}"))
    others = [name.removesuffix(_TOPIC).strip("/") for name in known if name != topic]
    remedy = "start the graph with `rlt-ros launch`, on the same ROS_DOMAIN_ID"
    if others:
        remedy = f"give --namespace {' or '.join(sorted(others))}"
    return f"{topic} had no subscriber within {timeout:g} s; {remedy}"
