"""Publishers and subscriptions, and the news that DDS has about them."""

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

_FOR_EVER = 2**63 - 1  # ns
_EVERYTHING = SampleState.Any | ViewState.Any | InstanceState.Any
_COMPLAINT_PERIOD = 5.0  # s between two lines about the same malformed topic


class Publisher:
    """Sends messages of one type on one topic. Nodes make it.

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
        """Its identity in the graph, 16 bytes."""
        return self.entity.guid.bytes

    def publish(self, msg: Message | bytes) -> None:
        """Send a message, or the bytes of a serialised one.

        Raises:
            TypeError: it is of another type.
        """
        if not isinstance(msg, bytes):
            if not isinstance(msg, self.msg_type):
                raise TypeError(f"`{self.topic_name}` takes {self.msg_type.TYPE}, not {type(msg).__name__}")
            msg = serialize_message(msg)
        self.entity.write(self._sample(msg))

    def get_subscription_count(self) -> int:
        """Subscriptions that receive what is published, in any process."""
        # The wheel's list of them is asked for twice, and fails where a subscription comes in between.
        return int(self.entity.get_publication_matched_status().current_count)

    def wait_for_all_acked(self, timeout: Duration | None = None) -> bool:
        """Wait until every reliable subscription has what was published; False if that takes longer than `timeout`."""
        span = _FOR_EVER if timeout is None or timeout.nanoseconds < 0 else timeout.nanoseconds  # as in rclpy
        try:
            return bool(self.entity.wait_for_acks(span))
        except AttributeError:  # the wheel looks its code for a time-out up in the wrong class
            return False

    def close(self) -> None:
        """Leave the topic."""
        delete(self.entity)
        delete(self._topic)


class Subscription:
    """Receives messages of one type on one topic. Nodes make it.

    Args:
        participant: DDS side of the process.
        topic: DDS topic.
        msg_type: class of the messages.
        topic_name: absolute ROS name.
        callback: called with each message, or with its bytes if ``raw``.
        callback_group: what it must not run beside.
        qos_profile: quality of service.
        raw: whether to leave the bytes as they are.
        logger: told about messages that are malformed; these are counted and dropped.
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
        """Its identity in the graph, 16 bytes."""
        return self._reader.guid.bytes

    @property
    def reader(self) -> DataReader[Any]:
        """The DDS entity that has the news about it."""
        return self._reader

    def take(self) -> Callable[[], Any] | None:
        """Take the next message; returns the call that handles it, or None if there is none."""
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
                throttle_duration_sec=_COMPLAINT_PERIOD,
            )
            return None
        return self.callback(message)

    def close(self) -> None:
        """Leave the topic."""
        delete(self.entity)
        delete(self._reader)
        delete(self._topic)


class IncompatibleQoS:
    """Tells when an endpoint of the other kind is there whose quality of service does not fit.

    Args:
        entity: DDS reader or writer.
        callback: told how many, and which policy.
        callback_group: what it must not run beside.
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
        """The call that tells the news, or None if there is none."""
        if not self.entity.get_status_changes() & self._mask:
            return None
        status = self._status()
        info = IncompatibleQoSInfo(
            status.total_count, status.total_count_change, policy_kind(status.last_policy_id)
        )
        return lambda: self.callback(info)

    def close(self) -> None:
        """Nothing of its own to leave: the endpoint owns the entity."""


def incompatible_qos_callback(
    chosen: SubscriptionEventCallbacks | None, topic_name: str, logger: Logger
) -> Callable[[IncompatibleQoSInfo], Any] | None:
    """What to call: the user's choice, else a warning, or nothing where the user wants it so."""
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
