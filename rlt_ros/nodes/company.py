"""Other graphs in the domain: refused before a node publishes anything, noticed while it runs.

A second graph resets the first one's clock, and its states end in the first one's replay. So a node starts only where
no other has its full name and none publishes what a graph has once. A node that was killed stays in discovery until
its lease ends; one whose process has ended is waited for, not refused.
"""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from rlt_ros.bringup import NodeSpec, simulates
from rlt_ros.middleware import Node, SingleThreadedExecutor, init, ok, try_shutdown
from rlt_ros.middleware.messages import DiagnosticArray
from rlt_ros.middleware.presence import Presence, nodes_named, observer_node, publishers_of
from rlt_ros.nodes import qos
from rlt_ros.rlt.parameters import ConfigError
from rlt_ros.robots.profile import RobotProfile, load_profile
from rlt_ros.run_id import PREDECESSOR, local_discovery

CLOCK, EPISODE_STATE = "/clock", "rlt/episode_state"

DISCOVERY_TIME = 1.0
"""s in which the nodes that are there are discovered; participants answer a new one at once, a busy host later."""

LEASE = 12.0
"""s after which a dead node has left discovery: the lease of a DDS participant is 10 s."""

_POLL = 0.05  # s between two looks at discovery
_NAME_RULE = "__node:="
_REMEDY = "Stop that process, or start this graph in another ROS_DOMAIN_ID"
_MONITOR_REMEDY = "It publishes the views already, for RViz too; a second one is not needed"


@dataclass(frozen=True)
class Claim:
    """Names in the graph that one node alone may have.

    Attributes:
        node: full name.
        topics: absolute names of topics that it alone publishes.
        remedy: last sentence of a refusal.
    """

    node: str
    topics: tuple[str, ...] = ()
    remedy: str = _REMEDY


class Company(ConfigError):
    """Another graph has what this one claims; the message names node, host, process and remedy.

    Attributes:
        claimed: full name of the node of this graph that made the claim.
        other: node that has it, with its process, in words.
    """

    def __init__(self, claim: Claim, other: str, what: str) -> None:
        domain = os.environ.get("ROS_DOMAIN_ID", "").strip() or "0"
        super().__init__(f"another graph is in ROS_DOMAIN_ID {domain}: {other} {what}. {claim.remedy}")
        self.claimed, self.other = claim.node, other


def sole_topics(executable: str, profile: Callable[[], RobotProfile]) -> tuple[str, ...]:
    """Topics, before remapping, that one node of a graph publishes alone.

    Args:
        executable: which node, e.g. ``sim_node``.
        profile: loads the robot profile; called only where it is needed.
    """
    if executable == "sim_node":
        return (CLOCK, *(part.joint_states for part in profile().drivers))
    return (EPISODE_STATE,) if executable == "episode_node" else ()


def require_alone(claims: Callable[[Node], Sequence[Claim]]) -> None:
    """Listen for other nodes that have what is claimed; call it in a process that has joined the graph.

    Returns after :data:`DISCOVERY_TIME` where nobody is there.

    Args:
        claims: what is claimed, from a node under the process's own rules for namespace, topics and parameters.

    Raises:
        Company: somebody else has it.
    """
    node = observer_node(f"lookout_{os.getpid()}")
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    try:
        _listen(_Lookout(node, claims(node)), executor)
    finally:
        executor.shutdown()
        node.destroy_node()


def claim_of(executable: str, args: Iterable[str], node: Node) -> Claim:
    """Claim of the node in this process.

    Args:
        executable: which node.
        args: command line of the process; its rules give the name.
        node: another node of the process, for its namespace, topics and parameters.
    """
    robot = str(node.declare_parameter("robot", "agibot_g1_geniesim").value)
    topics = sole_topics(executable, lambda: load_profile(robot))
    names = [executable, *(text.partition(_NAME_RULE)[2] for text in args if _NAME_RULE in text)]
    full_name = f"{node.get_namespace().rstrip('/')}/{names[-1]}"
    remedy = _MONITOR_REMEDY if executable == "monitor_node" else _REMEDY
    return Claim(full_name, tuple(node.resolve_topic_name(topic) for topic in topics), remedy)


def graph_claims(specs: Iterable[NodeSpec]) -> list[Claim]:
    """Claims of all nodes of a graph."""
    claims = []
    for spec in (one for one in specs if one.package == "rlt_ros"):
        robot, moved = str(spec.parameters["robot"]), dict(spec.remappings)
        prefix = f"/{spec.namespace}/" if spec.namespace else "/"
        topics = (moved.get(one, one) for one in sole_topics(spec.executable, partial(load_profile, robot)))
        absolute = tuple(one if one.startswith("/") else f"{prefix}{one}" for one in topics)
        claims.append(Claim(spec.full_name, absolute))
    return claims


def join_domain(specs: Sequence[NodeSpec], *, watches: bool = False) -> list[NodeSpec]:
    """Check for other graphs, in a launcher's process and before its nodes import anything.

    Args:
        specs: nodes that are to be started.
        watches: they are views of a graph that runs; those that it has already are left out, unless nothing is left.

    Returns:
        The nodes to start.

    Raises:
        Company: another graph is there.
        KeyboardInterrupt: a signal ended the check.
    """
    if simulates(specs):
        os.environ.update(local_discovery(os.environ))
    init(args=[])
    try:
        left = _unclaimed(specs, watches=watches)
        if not ok():
            raise KeyboardInterrupt  # SIGTERM, which the middleware takes as an order to end without an exception
    finally:
        try_shutdown()
    return left


def crowd(node: Node, topics: Iterable[str]) -> str:
    """Topics of absolute name that more than one living node publishes, and these nodes, in words; empty for none."""
    for topic in topics:
        publishers = [one for one in publishers_of(node, topic) if not one.seems_dead]
        if len(publishers) > 1:
            return f"{topic} has {len(publishers)} publishers: {', '.join(map(str, publishers))}"
    return ""


def _unclaimed(specs: Sequence[NodeSpec], *, watches: bool) -> list[NodeSpec]:
    """The nodes that nobody has; for arguments and errors see :func:`join_domain`."""
    try:
        require_alone(lambda _: graph_claims(specs))
    except Company as company:
        left = [spec for spec in specs if spec.full_name != company.claimed]
        if not watches or not left:
            raise
        print(f"{company.other} publishes the views already; no second one starts", file=sys.stderr)
        return _unclaimed(left, watches=watches)
    return list(specs)


class _Lookout:
    """Others in discovery, and what their diagnostics say of their processes."""

    def __init__(self, node: Node, claims: Sequence[Claim]) -> None:
        self._node, self._claims = node, claims
        self._processes: dict[str, str] = {}  # full name → process, in words
        self._host, self._replaced = socket.gethostname(), os.environ.get(PREDECESSOR, "")
        node.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, qos.DIAGNOSTICS)

    def others(self) -> list[tuple[Presence, Claim, str]]:
        """Nodes of other processes, each with the claim and what of it the node has."""
        seen = []
        for claim in self._claims:
            names, what = nodes_named(self._node, claim.node), "has the name of a node of this one"
            seen += [(one, claim, what) for one in names]
            for topic in claim.topics:
                seen += [(one, claim, f"publishes {topic}") for one in publishers_of(self._node, topic)]
        return [found for found in seen if not self._is_ours(found[0])]

    def described(self, one: Presence) -> str:
        """A node with its process, from discovery or from its diagnostics."""
        heard = self._processes.get(one.node)
        return f"{one.node} ({heard})" if heard and not one.pid else str(one)

    def is_alive(self, one: Presence) -> bool:
        """Return whether its process is known to run, and it is not merely a lease that has not ended."""
        return one.node in self._processes or bool(one.pid and not one.seems_dead)

    def _is_ours(self, one: Presence) -> bool:
        here = one.pid and one.host == self._host
        return bool(here and (one.pid == os.getpid() or (str(one.pid) == self._replaced and one.seems_dead)))

    def _on_diagnostics(self, message: Any) -> None:
        for status in message.status:
            if status.hardware_id:
                self._processes[status.name.partition(": ")[0]] = status.hardware_id


def _listen(lookout: _Lookout, executor: SingleThreadedExecutor) -> None:
    start = time.monotonic()
    while True:
        others, waited = lookout.others(), time.monotonic() - start
        for one, claim, what in others:
            if lookout.is_alive(one) or waited > LEASE:
                raise Company(claim, lookout.described(one), what)
        if not others and waited > DISCOVERY_TIME:
            return
        executor.spin_once(timeout_sec=_POLL)
