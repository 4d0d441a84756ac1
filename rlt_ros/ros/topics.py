"""Publishers and subscriptions of a node: overridable quality of service, reported mismatches, measured traffic."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any, cast

from rlt_ros.middleware import (
    CallbackGroup,
    LifecycleNode,
    Node,
    Publisher,
    PublisherEventCallbacks,
    QoSOverridingOptions,
    QoSPolicyKind,
    QoSProfile,
    Subscription,
    SubscriptionEventCallbacks,
    Time,
    UnsupportedEventTypeError,
)
from rlt_ros.ros import qos
from rlt_ros.ros.diagnostics import OK, WARN, Diagnostics, Report
from rlt_ros.ros.runs import RunFilter, RunPublisher, carries_run, run_id_in


class Topics:
    """Factory of publishers and subscriptions. Topic names must be literals: the reference page is generated from them.

    Args:
        node: owner of the endpoints.
        diagnostics: gets the task "topics": rate, age and incompatible endpoints of each topic.
    """

    def __init__(self, node: Node, diagnostics: Diagnostics) -> None:
        self._node = node
        self._runs = RunFilter(node, diagnostics)
        self._traffic: dict[str, _Traffic] = {}
        self._mismatches: dict[str, str] = {}
        diagnostics.add("topics", self._report)

    def publisher(
        self, msg_type: type[Any], topic: str, profile: QoSProfile, *, while_active: bool = False
    ) -> Publisher:
        """Create a publisher; with ``while_active`` a lifecycle publisher, which is silent while the node is inactive.

        Messages of this package get the id of the run.
        """
        create: Callable[..., Publisher] = self._node.create_publisher
        if while_active:
            assert isinstance(self._node, LifecycleNode)
            create = self._node.create_lifecycle_publisher

        def attempt(**events: Any) -> Publisher:
            return create(msg_type, topic, profile, qos_overriding_options=_overridable(), **events)

        events = PublisherEventCallbacks(incompatible_qos=self._on_mismatch(topic, "subscription"))
        endpoint = _with_events(attempt, events)
        if self._runs.stamps(msg_type):
            return cast(Publisher, RunPublisher(endpoint, self._runs.run_id))
        return cast(Publisher, endpoint)

    def destroy_lifecycle_publisher(self, publisher: Publisher) -> None:
        """Destroy a publisher that was created with ``while_active``."""
        assert isinstance(self._node, LifecycleNode)
        endpoint = publisher.endpoint if isinstance(publisher, RunPublisher) else publisher
        self._node.destroy_lifecycle_publisher(endpoint)

    def subscription(
        self,
        msg_type: type[Any],
        topic: str,
        callback: Callable[[Any], Any],
        profile: QoSProfile,
        *,
        callback_group: CallbackGroup | None = None,
        raw: bool = False,
        any_qos: bool = False,
    ) -> Subscription:
        """Create a subscription. The age of messages with a header is measured on the node's clock.

        Messages of another run are dropped and counted. With ``raw`` the callback gets serialised bytes.
        ``any_qos`` adds two subscriptions for publishers that offer less than ``profile`` requests; messages of all
        others then arrive up to three times.
        """
        traffic = self._traffic[topic] = _Traffic()

        kind = msg_type.__name__ if carries_run(msg_type) else ""

        def count(message: Any) -> None:
            traffic.count(message, self._node)
            if not kind or self._runs.takes(kind, _run_of(message), topic):
                callback(message)

        def attempt(
            profile: QoSProfile, overridable: QoSOverridingOptions | None, **events: Any
        ) -> Subscription:
            return self._node.create_subscription(
                msg_type,
                topic,
                count,
                profile,
                callback_group=callback_group,
                qos_overriding_options=overridable,
                raw=raw,
                **events,
            )

        if any_qos:
            silent = SubscriptionEventCallbacks(use_default_callbacks=False)
            for weaker in (qos.RELIABLE, qos.BEST_EFFORT):
                _with_events(partial(attempt, weaker, None), silent)
            # At least one of the three matches every publisher. The default warning of the middleware ("no messages
            # will be received") would be false.
            return _with_events(partial(attempt, profile, _overridable()), silent)
        events = SubscriptionEventCallbacks(incompatible_qos=self._on_mismatch(topic, "publisher"))
        return _with_events(partial(attempt, profile, _overridable()), events)

    def _on_mismatch(self, topic: str, other: str) -> Callable[[Any], None]:
        def report(info: Any) -> None:
            policy = QoSPolicyKind(int(info.last_policy_kind)).name.lower()
            text = f"{info.total_count} {other}(s) with incompatible {policy}: no messages are exchanged"
            self._mismatches[topic] = text
            self._node.get_logger().warning(f"{topic}: {text}; set qos_overrides for one of them")

        return report

    def _report(self) -> Report:
        values = {topic: traffic.text() for topic, traffic in self._traffic.items()}
        values.update({f"{topic} quality of service": text for topic, text in self._mismatches.items()})
        if self._mismatches:
            return WARN, f"incompatible quality of service on {', '.join(sorted(self._mismatches))}", values
        return OK, "", values


class _Traffic:
    """Messages since the last report."""

    def __init__(self) -> None:
        self._since, self._messages = time.monotonic(), 0
        self._age: float | None = None  # s, of the newest

    def count(self, message: Any, node: Node) -> None:
        self._messages += 1
        if hasattr(message, "header"):
            age = node.get_clock().now() - Time.from_msg(message.header.stamp)
            self._age = age.nanoseconds * 1e-9

    def text(self) -> str:
        now = time.monotonic()
        rate = self._messages / max(now - self._since, 1e-9)
        self._since, self._messages = now, 0
        age = "" if self._age is None else f", newest {1e3 * self._age:.1f} ms old on arrival"
        return f"{rate:.1f} Hz{age}"


def _run_of(message: Any) -> str:
    """Id of the run in a message or in its bytes; empty if these are damaged, which the reader detects."""
    if not isinstance(message, bytes):
        return str(message.run_id)
    try:
        return run_id_in(message)
    except ValueError:
        return ""


def _overridable() -> QoSOverridingOptions:
    return QoSOverridingOptions.with_default_policies()


def _with_events(attempt: Callable[..., Any], events: Any) -> Any:
    try:
        return attempt(event_callbacks=events)
    except UnsupportedEventTypeError:
        # This RMW does not report mismatches.
        return attempt()
