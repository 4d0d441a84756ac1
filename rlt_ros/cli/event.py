"""``rlt-ros event``: say once what happened to an episode, for whoever has no device with buttons."""

from __future__ import annotations

import argparse
import time
from typing import Any

from rlt_ros.cli.options import SubParsers, add_command, add_namespace, add_timeout

EVENTS = {
    "start": "begin an episode, where `auto_start` of episode_node is false",
    "reset_done": "the scene is ready: in the reset of an episode, which waits for this on a real robot",
    "hand_over": "the critical phase begins: in the approach",
    "success": "the task is done: in the critical phase",
    "failure": "it is not and will not be",
    "abort": "end the episode without a label",
    "re_record": "forget the episode and do it again",
    "stop": "begin no further episode",
}
"""Event, as ``EpisodeEvent.msg`` names it in capitals → when one says so."""

_TOPIC = "rlt/episode_event"
_LOOK = 0.05  # s between two looks who listens
_OTHERS = 0.3  # s in which those are discovered who listen beside the first


class NobodyListens(ValueError):
    """An event that nobody would hear of, or has not heard of."""


def add_parser(subparsers: SubParsers) -> None:
    """Add ``event`` to the command line."""
    meanings = "\n".join(f"  {name:<10} {meaning}" for name, meaning in EVENTS.items())
    parser = add_command(
        subparsers,
        "event",
        summary="tell the running graph what happened: scene ready, success, failure, …",
        description=f"""\
Publishes one event for the episode that runs, as a button of a teleoperation device would, and
waits until the graph has it. An event that means nothing in the episode's phase is ignored
there; `rlt-ros monitor` shows the phase. The e-stop is no event: it has a topic of its own.

events:
{meanings}""",
        examples="""\
  rlt-ros event reset_done                             the socket is back in place: begin
  rlt-ros event success --namespace left               of the robot in that namespace
  rlt-ros event abort --reason "the cable came off\"""",
    )
    parser.add_argument("event", choices=EVENTS, metavar="EVENT", help=" | ".join(EVENTS))
    add_namespace(parser)
    parser.add_argument("--reason", default="", metavar="TEXT", help="in words, for the log")
    add_timeout(parser, "somebody who listens")
    parser.set_defaults(run=run, present=present)


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Publish the event once somebody listens; return who did.

    Raises:
        NobodyListens: nobody did in time.
    """
    from rlt_ros.cli.graph_view import observer
    from rlt_ros.middleware import Duration
    from rlt_ros.middleware.messages import EpisodeEvent
    from rlt_ros.nodes import qos

    namespace = args.namespace.strip("/")
    topic = f"/{namespace}/{_TOPIC}" if namespace else f"/{_TOPIC}"
    with observer() as (node, executor):
        publisher = node.create_publisher(EpisodeEvent, topic, qos.EPISODE_EVENT)
        end = time.monotonic() + args.timeout
        while not publisher.get_subscription_count():
            if time.monotonic() > end:
                raise NobodyListens(_nobody(node, topic, args.timeout))
            executor.spin_once(timeout_sec=_LOOK)
        settled = time.monotonic() + _OTHERS
        while (left := settled - time.monotonic()) > 0:
            executor.spin_once(timeout_sec=left)
        listeners = sorted(
            f"{one.node_namespace.rstrip('/')}/{one.node_name}"
            for one in node.get_subscriptions_info_by_topic(topic)
        )
        # No stamp: simulated time may be another than this computer's. No episode: the one that runs.
        event = getattr(EpisodeEvent, args.event.upper())
        publisher.publish(EpisodeEvent(event=event, origin="operator", reason=args.reason))
        if not publisher.wait_for_all_acked(Duration(seconds=args.timeout)):
            raise NobodyListens(
                f"{', '.join(listeners)} did not confirm the event within {args.timeout:g} s; is it stopped? "
                "`rlt-ros graph` shows what is alive"
            )
    return {"event": args.event, "topic": topic, "heard_by": listeners}


def present(result: dict[str, Any]) -> None:
    """Say who has heard of it."""
    print(f"{result['event']} → {', '.join(result['heard_by'])}")


def _nobody(node: Any, topic: str, timeout: float) -> str:
    known = (name for name, _ in node.get_topic_names_and_types() if name.endswith(f"/{_TOPIC}"))
    others = [name.removesuffix(_TOPIC).strip("/") for name in known if name != topic]
    remedy = "start the graph with `rlt-ros launch`, on the same ROS_DOMAIN_ID"
    if others:
        remedy = f"give --namespace {' or '.join(sorted(others))}"
    return f"nobody listened to {topic} within {timeout:g} s; {remedy}"
