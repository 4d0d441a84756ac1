"""Publishers, subscriptions, and their DDS events."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cyclonedds.core import DDSStatus, InstanceState, ReadCondition, SampleState, ViewState
from cyclonedds.pub import DataWriter
from cyclonedds.sub import DataReader
from cyclonedds.topic import Topic

from rlt_ros.middleware.dds.callback_groups import CallbackGroup
from rlt_ros.middleware.dds.domain import Participant, delete, user_data
from rlt_ros.middleware.dds.logging import Logger
from rlt_ros.middleware.dds.message import MalformedMessage, Message, deserialize_message, serialize_message
from rlt_ros.middleware.dds.qos import (
    IncompatibleQoSInfo,
    PublisherEventCallbacks,
    QoSProfile,
    SubscriptionEventCallbacks,
    policy_kind,
    to_dds,
)
from rlt_ros.middleware.dds.signals import uninterrupted
from rlt_ros.middleware.dds.time import Duration

_INFINITE_NS = 2**63 - 1
_EVERYTHING = SampleState.Any | ViewState.Any | InstanceState.Any
_LOG_PERIOD = 5.0
"""s between two log lines about malformed messages on one topic."""


class Publisher:
    """Publisher of one type on one topic, created by nodes.

    Args:
        participant: DDS side of the process.
        topic: DDS topic.
        msg_type: class of the messages.
        topic_name: absolute ROS name.
        qos_profile: quality of service.
    """

    def __init__(
        self,
        participant: Participant,
        topic: Topic[Any],
        msg_type: type[Message],
        topic_name: str,
        qos_profile: QoSProfile,
    ) -> None:
        self.msg_type, self.topic_name, self.qos_profile = msg_type, topic_name, qos_profile
        self.entity = DataWriter(participant.entity, topic, qos=to_dds(qos_profile, user_data(msg_type.TYPE)))
        self._sample = topic.data_type
        self._topic = topic

    @property
    def topic(self) -> str:
        """Absolute name of the topic."""
        return self.topic_name

    @property
    def gid(self) -> bytes:
        """Identity in the graph, 16 bytes."""
        return self.entity.guid.bytes

    def publish(self, msg: Message | bytes) -> None:
        """Publish a message or a serialised one.

        Raises:
            TypeError: the message is of another type.
        """
        if not isinstance(msg, bytes):
            if not isinstance(msg, self.msg_type):
                raise TypeError(f"`{self.topic_name}` takes {self.msg_type.TYPE}, not {type(msg).__name__}")
            msg = serialize_message(msg)
        self.entity.write(self._sample(msg))

    def get_subscription_count(self) -> int:
        """Number of matched subscriptions in all processes."""
        # The wheel's list of them is read in two calls, and fails if a subscription is added in between.
        return int(self.entity.get_publication_matched_status().current_count)

    def wait_for_all_acked(self, timeout: Duration | None = None) -> bool:
        """Wait until all reliable subscriptions have received all messages; False after `timeout`."""
        # A negative time-out is infinite, as in rclpy.
        span = _INFINITE_NS if timeout is None or timeout.nanoseconds < 0 else timeout.nanoseconds
        try:
            return bool(self.entity.wait_for_acks(span))
        # Time-out: the wheel reads its return code from the wrong class.
        except AttributeError:
            return False

    def close(self) -> None:
        """Leave the topic."""
        delete(self.entity)
        delete(self._topic)


class Subscription:
    """Subscription to one type on one topic, created by nodes.

    Args:
        participant: DDS side of the process.
        topic: DDS topic.
        msg_type: class of the messages.
        topic_name: absolute ROS name.
        callback: called with each message, or with its bytes if ``raw``.
        callback_group: group that limits its concurrency.
        qos_profile: quality of service.
        raw: True to skip deserialisation.
        logger: logger of malformed messages, which are counted and dropped.
    """

    def __init__(
        self,
        participant: Participant,
        topic: Topic[Any],
        msg_type: type[Message],
        topic_name: str,
        callback: Callable[[Any], Any],
        callback_group: CallbackGroup,
        qos_profile: QoSProfile,
        raw: bool,
        logger: Logger,
    ) -> None:
        self.msg_type, self.topic_name, self.qos_profile = msg_type, topic_name, qos_profile
        self.callback, self.callback_group, self.raw = callback, callback_group, raw
        self.malformed = 0
        self._logger, self._topic = logger, topic
        self._reader = DataReader(
            participant.entity, topic, qos=to_dds(qos_profile, user_data(msg_type.TYPE))
        )
        self.entity = ReadCondition(self._reader, _EVERYTHING)

    @property
    def topic(self) -> str:
        """Absolute name of the topic."""
        return self.topic_name

    @property
    def gid(self) -> bytes:
        """Identity in the graph, 16 bytes."""
        return self._reader.guid.bytes

    @property
    def reader(self) -> DataReader[Any]:
        """DDS entity of its events."""
        return self._reader

    def take(self) -> Callable[[], Any] | None:
        """Take the next message; returns the call that handles it, or None."""
        with uninterrupted:
            samples = self._reader.take(1, condition=self.entity)
        for sample in samples:
            if sample.sample_info.valid_data:
                return lambda: self._handle(sample.payload)
        return None

    def _handle(self, payload: bytes) -> Any:
        if self.raw:
            return self.callback(payload)
        try:
            message = deserialize_message(payload, self.msg_type)
        except MalformedMessage as error:
            self.malformed += 1
            self._logger.error(
                f"dropped a message on {self.topic_name} ({self.malformed} so far): {error}",
                throttle_duration_sec=_LOG_PERIOD,
            )
            return None
        return self.callback(message)

    def close(self) -> None:
        """Leave the topic."""
        delete(self.entity)
        delete(self._reader)
        delete(self._topic)


class IncompatibleQoS:
    """Event of a matching endpoint with incompatible quality of service.

    Args:
        entity: DDS reader or writer.
        callback: called with the counts and the policy.
        callback_group: group that limits its concurrency.
    """

    def __init__(
        self,
        entity: DataReader[Any] | DataWriter[Any],
        callback: Callable[[IncompatibleQoSInfo], Any],
        callback_group: CallbackGroup,
    ) -> None:
        self.entity, self.callback, self.callback_group = entity, callback, callback_group
        if isinstance(entity, DataReader):
            self._mask, self._status = (
                DDSStatus.RequestedIncompatibleQos,
                entity.get_requested_incompatible_qos_status,
            )
        else:
            self._mask, self._status = (
                DDSStatus.OfferedIncompatibleQos,
                entity.get_offered_incompatible_qos_status,
            )
        entity.set_status_mask(self._mask)

    def take(self) -> Callable[[], Any] | None:
        """Take the event; returns the call that handles it, or None."""
        if not self.entity.get_status_changes() & self._mask:
            return None
        status = self._status()
        info = IncompatibleQoSInfo(
            status.total_count, status.total_count_change, policy_kind(status.last_policy_id)
        )
        return lambda: self.callback(info)

    def close(self) -> None:
        """Do nothing: the endpoint owns the entity."""


def incompatible_qos_callback(
    chosen: SubscriptionEventCallbacks | None, topic_name: str, logger: Logger
) -> Callable[[IncompatibleQoSInfo], Any] | None:
    """Callback of incompatible quality of service: the user's, a warning by default, or None if disabled."""
    chosen = chosen or SubscriptionEventCallbacks()
    if chosen.incompatible_qos or not chosen.use_default_callbacks:
        return chosen.incompatible_qos
    offering = isinstance(chosen, PublisherEventCallbacks)
    other, doing = ("subscription", "requesting") if offering else ("publisher", "offering")
    to = "sent to" if offering else "received from"

    def warn(info: IncompatibleQoSInfo) -> None:
        logger.warning(
            f"New {other} discovered on topic '{topic_name}', {doing} incompatible QoS. No messages will be {to} it. "
            f"Last incompatible policy: {info.last_policy_kind.name}"
        )

    return warn
