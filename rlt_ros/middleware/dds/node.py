"""Node: publishers, subscriptions, timers, parameters, clock and logger under a name in the graph."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from rlt_ros.middleware.dds.arguments import RosArguments, parse
from rlt_ros.middleware.dds.callback_groups import CallbackGroup, MutuallyExclusiveCallbackGroup
from rlt_ros.middleware.dds.clock import Clock, ROSClock
from rlt_ros.middleware.dds.context import default_context
from rlt_ros.middleware.dds.endpoints import (
    IncompatibleQoS,
    Publisher,
    Subscription,
    incompatible_qos_callback,
)
from rlt_ros.middleware.dds.graph import LocalNode, TopicEndpointInfo
from rlt_ros.middleware.dds.logging import Logger, LoggingSeverity
from rlt_ros.middleware.dds.message import message_class
from rlt_ros.middleware.dds.names import expand, join, valid_namespace, valid_node_name
from rlt_ros.middleware.dds.parameters import Parameter, Parameters
from rlt_ros.middleware.dds.qos import (
    DurabilityPolicy,
    PublisherEventCallbacks,
    QoSOverridingOptions,
    QoSProfile,
    ReliabilityPolicy,
    SubscriptionEventCallbacks,
    as_profile,
    overridden,
)
from rlt_ros.middleware.dds.time import Time
from rlt_ros.middleware.dds.timer import Timer

if TYPE_CHECKING:
    from rlt_ros.middleware.dds.executors import Executor

_CLOCK_QOS = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
_ROSOUT_QOS = QoSProfile(depth=1000, durability=DurabilityPolicy.TRANSIENT_LOCAL)


class Node:
    """Node with the part of ``rclpy.node.Node``'s interface that this package uses.

    Args:
        node_name: name, unless remapped.
        cli_args: ROS arguments of this node, which override those of the process.
        namespace: namespace, unless remapped.
        use_global_arguments: True to apply the ROS arguments of the process.
        enable_rosout: True to publish its log on `/rosout`.
        parameter_overrides: values that override all others.
    """

    def __init__(
        self,
        node_name: str,
        *,
        cli_args: Sequence[str] | None = None,
        namespace: str | None = None,
        use_global_arguments: bool = True,
        enable_rosout: bool = True,
        parameter_overrides: Sequence[Parameter] = (),
    ) -> None:
        self._context = default_context()
        self._participant, self._graph = self._context.participant, self._context.graph
        self._arguments = _merged(
            parse(cli_args or ()), self._context.arguments if use_global_arguments else RosArguments()
        )
        self._name = valid_node_name(self._arguments.special("__node", node_name) or node_name)
        self._namespace = valid_namespace(self._arguments.special("__ns", node_name) or namespace or "")
        self.executor: Executor | None = None
        self.waitables: list[Any] = []
        self._publishers: list[Publisher] = []
        self._group = MutuallyExclusiveCallbackGroup()
        self._record = LocalNode(self._namespace, self._name, set(), set())
        self._graph.add(self._record)
        overrides = self._arguments.overrides(self.get_fully_qualified_name())
        overrides.update({parameter.name: parameter.value for parameter in parameter_overrides})
        self._parameters = Parameters(overrides)
        self._clock = ROSClock()
        self._logger = self._make_logger(enable_rosout)
        self._clock_subscription: Subscription | None = None
        self._use_sim_time(self.declare_parameter("use_sim_time", False).value)
        self.add_on_set_parameters_callback(self._on_parameters)

    def get_name(self) -> str:
        """Name without namespace."""
        return self._name

    def get_namespace(self) -> str:
        """Absolute namespace."""
        return self._namespace

    def get_fully_qualified_name(self) -> str:
        """Name with namespace."""
        return join(self._namespace, self._name)

    def get_clock(self) -> ROSClock:
        """ROS time, simulated if the parameter `use_sim_time` is true."""
        return self._clock

    def get_logger(self) -> Logger:
        """The node's logger."""
        return self._logger

    @property
    def default_callback_group(self) -> CallbackGroup:
        """Group of callbacks without another one: mutually exclusive."""
        return self._group

    def declare_parameter(self, name: str, value: Any = None, descriptor: Any = None) -> Parameter:
        """Declare a parameter, see :meth:`Parameters.declare`."""
        return self._parameters.declare(name, value, descriptor)

    def declare_parameters(self, namespace: str, parameters: Sequence[tuple[Any, ...]]) -> list[Parameter]:
        """Declare each (name[, value[, descriptor]]), with names below ``namespace``."""
        prefix = f"{namespace}." if namespace else ""
        return [self.declare_parameter(f"{prefix}{name}", *rest) for name, *rest in parameters]

    def has_parameter(self, name: str) -> bool:
        """Return whether a parameter is declared."""
        return self._parameters.has(name)

    def get_parameter(self, name: str) -> Parameter:
        """Declared parameter."""
        return self._parameters.get(name)

    def describe_parameter(self, name: str) -> Any:
        """``rcl_interfaces/msg/ParameterDescriptor`` of a parameter."""
        return self._parameters.describe(name)

    def set_parameters(self, parameter_list: Sequence[Parameter]) -> list[Any]:
        """Set each parameter if allowed; returns a SetParametersResult for each."""
        return self._parameters.set(parameter_list)

    def add_on_set_parameters_callback(self, callback: Callable[[list[Parameter]], Any]) -> None:
        """Register a validation callback, which returns a SetParametersResult."""
        self._parameters.add_callback(callback)

    def remove_on_set_parameters_callback(self, callback: Callable[[list[Parameter]], Any]) -> None:
        """Remove a validation callback."""
        self._parameters.remove_callback(callback)

    def resolve_topic_name(self, topic: str, *, only_expand: bool = False) -> str:
        """Absolute topic name, after remapping unless ``only_expand``."""
        absolute = expand(topic, node=self._name, namespace=self._namespace)
        if only_expand:
            return absolute
        return self._arguments.remapped(absolute, node=self._name, namespace=self._namespace)

    def create_publisher(
        self,
        msg_type: type[Any],
        topic: str,
        qos_profile: QoSProfile | int,
        *,
        callback_group: CallbackGroup | None = None,
        event_callbacks: PublisherEventCallbacks | None = None,
        qos_overriding_options: QoSOverridingOptions | None = None,
        publisher_class: type[Publisher] = Publisher,
    ) -> Publisher:
        """Create a publisher of ``msg_type`` on ``topic``; an integer as quality of service is the depth."""
        name = self.resolve_topic_name(topic)
        profile = self._overridden(as_profile(qos_profile), qos_overriding_options, f"{name}.publisher")
        dds_topic = self._participant.topic(f"rt{name}", msg_type.TYPE)
        publisher = publisher_class(self._participant, dds_topic, msg_type, name, profile)
        self._publishers.append(publisher)
        self._add_qos_event(
            publisher.entity,
            event_callbacks or PublisherEventCallbacks(),
            callback_group or self._group,
            name,
        )
        self._record.writers.add(publisher.gid)
        self._graph.publish()
        return publisher

    def create_subscription(
        self,
        msg_type: type[Any],
        topic: str,
        callback: Callable[[Any], Any],
        qos_profile: QoSProfile | int,
        *,
        callback_group: CallbackGroup | None = None,
        event_callbacks: SubscriptionEventCallbacks | None = None,
        qos_overriding_options: QoSOverridingOptions | None = None,
        raw: bool = False,
    ) -> Subscription:
        """Create a subscription to ``msg_type`` on ``topic``; with ``raw`` the callback receives serialised bytes."""
        name, group = self.resolve_topic_name(topic), callback_group or self._group
        profile = self._overridden(as_profile(qos_profile), qos_overriding_options, f"{name}.subscription")
        dds_topic = self._participant.topic(f"rt{name}", msg_type.TYPE)
        subscription = Subscription(
            self._participant, dds_topic, msg_type, name, callback, group, profile, raw, self._logger
        )
        self._add_qos_event(subscription.reader, event_callbacks, group, name)
        self._add(subscription)
        self._record.readers.add(subscription.gid)
        self._graph.publish()
        return subscription

    def create_timer(
        self,
        timer_period_sec: float,
        callback: Callable[[], Any],
        callback_group: CallbackGroup | None = None,
        clock: Clock | None = None,
    ) -> Timer:
        """Create a timer of the node's clock, or of ``clock``; it starts at once."""
        timer = Timer(
            callback, callback_group or self._group, int(timer_period_sec * 1e9), clock or self._clock
        )
        self._add(timer)
        return timer

    def destroy_publisher(self, publisher: Publisher) -> bool:
        """Remove a publisher; returns whether it belonged to this node."""
        if publisher not in self._publishers:
            return False
        self._record.writers.discard(publisher.gid)
        self._publishers.remove(publisher)
        self._remove_qos_events(publisher.entity)
        self._retire(publisher)
        self._graph.publish()
        return True

    def destroy_subscription(self, subscription: Subscription) -> bool:
        """Remove a subscription; returns whether it belonged to this node."""
        if subscription not in self.waitables:
            return False
        self._record.readers.discard(subscription.gid)
        self._remove_qos_events(subscription.reader)
        self.waitables.remove(subscription)
        self._retire(subscription)
        self._graph.publish()
        return True

    def destroy_timer(self, timer: Timer) -> bool:
        """Remove a timer; returns whether it belonged to this node."""
        if timer not in self.waitables:
            return False
        self.waitables.remove(timer)
        self._retire(timer)
        return True

    def destroy_node(self) -> None:
        """Remove the node and all its entities from the graph."""
        executor, waitables = self.executor, self.waitables
        self.waitables = []
        for waitable in (*waitables, *self._publishers):
            self._retire(waitable)
        self._publishers = []
        if executor:
            executor.remove_node(self)
        self._graph.remove(self._record)

    def count_publishers(self, topic_name: str) -> int:
        """Number of discovered publishers on a topic."""
        return self._graph.count_publishers(self.resolve_topic_name(topic_name, only_expand=True))

    def count_subscribers(self, topic_name: str) -> int:
        """Number of discovered subscriptions to a topic."""
        return self._graph.count_subscriptions(self.resolve_topic_name(topic_name, only_expand=True))

    def get_publishers_info_by_topic(self, topic_name: str) -> list[TopicEndpointInfo]:
        """Publishers on a topic, with their nodes."""
        return self._graph.publishers(self.resolve_topic_name(topic_name, only_expand=True))

    def get_subscriptions_info_by_topic(self, topic_name: str) -> list[TopicEndpointInfo]:
        """Subscriptions to a topic, with their nodes."""
        return self._graph.subscriptions(self.resolve_topic_name(topic_name, only_expand=True))

    def get_topic_names_and_types(self) -> list[tuple[str, list[str]]]:
        """Pairs (name, types) of all topics in the graph."""
        return self._graph.topics()

    def get_node_names_and_namespaces(self) -> list[tuple[str, str]]:
        """Pairs (name, namespace) of all nodes in the graph."""
        return self._graph.nodes()

    def _add(self, waitable: Any) -> None:
        self.waitables.append(waitable)
        if self.executor:
            self.executor.refresh()

    def _retire(self, closeable: Any) -> None:
        """Close an entity now, or once the executor does not wait for it."""
        if self.executor:
            self.executor.retire(closeable)
        else:
            closeable.close()

    def _add_qos_event(
        self, entity: Any, events: SubscriptionEventCallbacks | None, group: CallbackGroup, topic: str
    ) -> None:
        callback = incompatible_qos_callback(events, topic, self._logger)
        if callback:
            self._add(IncompatibleQoS(entity, callback, group))

    def _remove_qos_events(self, entity: Any) -> None:
        for waitable in list(self.waitables):
            if isinstance(waitable, IncompatibleQoS) and waitable.entity is entity:
                self.waitables.remove(waitable)

    def _overridden(
        self, profile: QoSProfile, options: QoSOverridingOptions | None, endpoint: str
    ) -> QoSProfile:
        if options is None:
            return profile
        descriptor = message_class("rcl_interfaces/msg/ParameterDescriptor")

        def declare(policy: str, default: Any) -> Any:
            name = f"qos_overrides.{endpoint}.{policy}"
            if self.has_parameter(name):
                return self.get_parameter(name).value
            described = descriptor(
                description=f"{policy} of the {endpoint.rpartition('.')[2]}", read_only=True
            )
            return self.declare_parameter(name, default, described).value

        return overridden(profile, options.policy_kinds, declare)

    def _make_logger(self, enable_rosout: bool) -> Logger:
        level = LoggingSeverity[(self._arguments.log_level or "info").upper()]
        name = self.get_fully_qualified_name()[1:].replace("/", ".")
        quiet = Logger(name, level, None)
        if not enable_rosout:
            return quiet
        log = message_class("rcl_interfaces/msg/Log")
        self._logger = quiet
        publisher = self.create_publisher(log, "/rosout", _ROSOUT_QOS)

        def publish(severity: int, text: str, file: str, function: str, line: int) -> None:
            if publisher in self._publishers and self._context.ok():
                stamp = self._clock.now().to_msg()
                publisher.publish(
                    log(
                        stamp=stamp,
                        level=int(severity),
                        name=name,
                        msg=text,
                        file=file,
                        function=function,
                        line=line,
                    )
                )

        return Logger(name, level, publish)

    def _on_parameters(self, parameters: list[Parameter]) -> Any:
        for parameter in parameters:
            if parameter.name == "use_sim_time":
                self._use_sim_time(parameter.value)
        return message_class("rcl_interfaces/msg/SetParametersResult")(successful=True)

    def _use_sim_time(self, enabled: bool) -> None:
        """Set the source of ROS time: `/clock` or system time."""
        self._clock._set_ros_time_is_active(enabled)
        if enabled and self._clock_subscription is None:
            # A separate group, so that time progresses while a callback runs in a multi-threaded executor.
            group = MutuallyExclusiveCallbackGroup()
            clock = message_class("rosgraph_msgs/msg/Clock")
            self._clock_subscription = self.create_subscription(
                clock, "/clock", self._on_clock, _CLOCK_QOS, callback_group=group
            )
        elif not enabled and self._clock_subscription is not None:
            self.destroy_subscription(self._clock_subscription)
            self._clock_subscription = None

    def _on_clock(self, message: Any) -> None:
        self._clock.set_ros_time_override(Time.from_msg(message.clock))


def _merged(own: RosArguments, of_process: RosArguments) -> RosArguments:
    return RosArguments(
        [*own.remappings, *of_process.remappings],
        [*of_process.parameters, *own.parameters],
        own.log_level or of_process.log_level,
    )
