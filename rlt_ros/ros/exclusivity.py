"""Detection of other graphs in the domain: refused before a node publishes anything, reported while it runs.

A second graph would reset the clock of the first and add states to its replay. A node therefore starts only if no other
node has its full name and none publishes its exclusive topics. A killed node stays in discovery until its lease ends; a
node whose process has ended is waited for, not refused.
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
from rlt_ros.robots.profile import RobotProfile, load_profile
from rlt_ros.ros import qos
from rlt_ros.run_id import PREDECESSOR, local_discovery
from rlt_ros.store.parameters import ConfigError

CLOCK, EPISODE_STATE = "/clock", "rlt/episode_state"

DISCOVERY_TIME = 1.0
"""s to discover existing nodes; participants answer a new one at once, or later on a busy host."""

LEASE = 12.0
"""s until a dead node has left discovery; the lease of a DDS participant is 10 s."""

_POLL = 0.05
"""s, polling period of discovery."""
_NAME_RULE = "__node:="
_REMEDY = "Stop that process, or start this graph in another ROS_DOMAIN_ID"
_MONITOR_REMEDY = "It publishes the views already, also for RViz; a second one is not needed"


@dataclass(frozen=True)
class Claim:
    """Exclusive names of a node in the graph.

    Attributes:
        node: full name of the node.
        topics: absolute names of its exclusive topics.
        remedy: last sentence of a refusal.
    """

    node: str
    topics: tuple[str, ...] = ()
    remedy: str = _REMEDY


class OtherGraphError(ConfigError):
    """Another graph has a claimed name or topic; the message contains node, host, process and remedy.

    Attributes:
        claimed: full name of the claiming node of this graph.
        other: conflicting node with its process, as text.
    """

    def __init__(self, claim: Claim, other: str, what: str) -> None:
        domain = os.environ.get("ROS_DOMAIN_ID", "").strip() or "0"
        super().__init__(f"another graph is in ROS_DOMAIN_ID {domain}: {other} {what}. {claim.remedy}")
        self.claimed, self.other = claim.node, other


def exclusive_topics(executable: str, profile: Callable[[], RobotProfile]) -> tuple[str, ...]:
    """Topics, before remapping, with one publisher in a graph.

    Args:
        executable: node, e.g. ``sim_node``.
        profile: loads the robot profile; called only if needed.
    """
    if executable == "sim_node":
        return (CLOCK, *(part.joint_states for part in profile().drivers))
    return (EPISODE_STATE,) if executable == "episode_node" else ()


def require_exclusive(claims: Callable[[Node], Sequence[Claim]]) -> None:
    """Search discovery for conflicting nodes; the context must be initialised.

    Returns after :data:`DISCOVERY_TIME` without a conflict.

    Args:
        claims: returns the claims, given a node with the namespace, remappings and parameters of the process.

    Raises:
        OtherGraphError: another node has a claimed name or topic.
    """
    node = observer_node(f"observer_{os.getpid()}")
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    try:
        _refuse_conflicts(_DiscoveryObserver(node, claims(node)), executor)
    finally:
        executor.shutdown()
        node.destroy_node()


def claim_of(executable: str, args: Iterable[str], node: Node) -> Claim:
    """Claim of the node in this process.

    Args:
        executable: node.
        args: command line of the process, which may contain the name.
        node: another node of the process, for namespace, remappings and parameters.
    """
    robot = str(node.declare_parameter("robot", "agibot_g1_geniesim").value)
    topics = exclusive_topics(executable, lambda: load_profile(robot))
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
        topics = (
            moved.get(one, one) for one in exclusive_topics(spec.executable, partial(load_profile, robot))
        )
        absolute = tuple(one if one.startswith("/") else f"{prefix}{one}" for one in topics)
        claims.append(Claim(spec.full_name, absolute))
    return claims


def join_domain(specs: Sequence[NodeSpec], *, watches: bool = False) -> list[NodeSpec]:
    """Check for other graphs in the process of a launcher, before its nodes import anything.

    Args:
        specs: nodes to start.
        watches: the nodes are views of a running graph; those that it has already are omitted, unless none remains.

    Returns:
        The nodes to start.

    Raises:
        OtherGraphError: another graph is in the domain.
        KeyboardInterrupt: a signal ended the check.
    """
    if simulates(specs):
        os.environ.update(local_discovery(os.environ))
    init(args=[])
    try:
        left = _without_running(specs, watches=watches)
        if not ok():
            # SIGTERM, which the middleware handles without an exception.
            raise KeyboardInterrupt
    finally:
        try_shutdown()
    return left


def duplicate_publishers(node: Node, topics: Iterable[str]) -> str:
    """Text with the first of ``topics`` (absolute names) that has several live publishers; empty without one."""
    for topic in topics:
        publishers = [one for one in publishers_of(node, topic) if not one.seems_dead]
        if len(publishers) > 1:
            return f"{topic} has {len(publishers)} publishers: {', '.join(map(str, publishers))}"
    return ""


def _without_running(specs: Sequence[NodeSpec], *, watches: bool) -> list[NodeSpec]:
    """Nodes that do not run yet; arguments and errors as in :func:`join_domain`."""
    try:
        require_exclusive(lambda _: graph_claims(specs))
    except OtherGraphError as error:
        left = [spec for spec in specs if spec.full_name != error.claimed]
        if not watches or not left:
            raise
        print(f"{error.other} publishes the views already; no second one starts", file=sys.stderr)
        return _without_running(left, watches=watches)
    return list(specs)


class _DiscoveryObserver:
    """Other nodes in discovery, and the processes from their diagnostics."""

    def __init__(self, node: Node, claims: Sequence[Claim]) -> None:
        self._node, self._claims = node, claims
        self._processes: dict[str, str] = {}  # full name → process, as text
        self._host, self._replaced = socket.gethostname(), os.environ.get(PREDECESSOR, "")
        node.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, qos.DIAGNOSTICS)

    def others(self) -> list[tuple[Presence, Claim, str]]:
        """Nodes of other processes, each with the violated claim and a description."""
        seen = []
        for claim in self._claims:
            names, what = nodes_named(self._node, claim.node), "has the name of a node of this one"
            seen += [(one, claim, what) for one in names]
            for topic in claim.topics:
                seen += [(one, claim, f"publishes {topic}") for one in publishers_of(self._node, topic)]
        return [found for found in seen if not self._is_ours(found[0])]

    def described(self, one: Presence) -> str:
        """Node and process as text, from discovery or from its diagnostics."""
        process = self._processes.get(one.node)
        return f"{one.node} ({process})" if process and not one.pid else str(one)

    def is_alive(self, one: Presence) -> bool:
        """Return True if its process is known to run; False may be a lease that has not ended."""
        return one.node in self._processes or bool(one.pid and not one.seems_dead)

    def _is_ours(self, one: Presence) -> bool:
        here = one.pid and one.host == self._host
        return bool(here and (one.pid == os.getpid() or (str(one.pid) == self._replaced and one.seems_dead)))

    def _on_diagnostics(self, message: Any) -> None:
        for status in message.status:
            if status.hardware_id:
                self._processes[status.name.partition(": ")[0]] = status.hardware_id


def _refuse_conflicts(observer: _DiscoveryObserver, executor: SingleThreadedExecutor) -> None:
    start = time.monotonic()
    while True:
        others, waited = observer.others(), time.monotonic() - start
        for one, claim, what in others:
            if observer.is_alive(one) or waited > LEASE:
                raise OtherGraphError(claim, observer.described(one), what)
        if not others and waited > DISCOVERY_TIME:
            return
        executor.spin_once(timeout_sec=_POLL)
