"""Names of rclpy, from the modules of Humble to Lyrical."""

from __future__ import annotations

from rclpy import init, ok, shutdown, spin, spin_once, try_shutdown
from rclpy.callback_groups import CallbackGroup, MutuallyExclusiveCallbackGroup, ReentrantCallbackGroup
from rclpy.clock import Clock, ClockChange, ClockType, JumpThreshold, ROSClock, TimeJump
from rclpy.duration import Duration
from rclpy.exceptions import (
    InvalidParameterTypeException,
    InvalidParameterValueException,
    ParameterAlreadyDeclaredException,
    ParameterNotDeclaredException,
)
from rclpy.executors import Executor, ExternalShutdownException, MultiThreadedExecutor, SingleThreadedExecutor
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.lifecycle import LifecycleNode, LifecyclePublisher, State, TransitionCallbackReturn
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.publisher import Publisher
from rclpy.qos import (
    DurabilityPolicy,
    HistoryPolicy,
    QoSPolicyKind,
    QoSProfile,
    ReliabilityPolicy,
    qos_profile_sensor_data,
    qos_profile_system_default,
)
from rclpy.qos_overriding_options import QoSOverridingOptions
from rclpy.serialization import deserialize_message, serialize_message
from rclpy.subscription import Subscription
from rclpy.time import Time
from rclpy.timer import Timer

try:
    from rclpy.event_handler import (
        PublisherEventCallbacks,
        SubscriptionEventCallbacks,
        UnsupportedEventTypeError,
    )
# Humble.
except ImportError:
    from rclpy.qos_event import PublisherEventCallbacks, SubscriptionEventCallbacks, UnsupportedEventTypeError

RCLError = rclpy_implementation.RCLError
"""Error of rclpy, for instance if a signal ends the context between its check and its use."""

__all__ = [
    "CallbackGroup",
    "Clock",
    "ClockChange",
    "ClockType",
    "DurabilityPolicy",
    "Duration",
    "Executor",
    "ExternalShutdownException",
    "HistoryPolicy",
    "InvalidParameterTypeException",
    "InvalidParameterValueException",
    "JumpThreshold",
    "LifecycleNode",
    "LifecyclePublisher",
    "MultiThreadedExecutor",
    "MutuallyExclusiveCallbackGroup",
    "Node",
    "Parameter",
    "ParameterAlreadyDeclaredException",
    "ParameterNotDeclaredException",
    "Publisher",
    "PublisherEventCallbacks",
    "QoSOverridingOptions",
    "QoSPolicyKind",
    "QoSProfile",
    "RCLError",
    "ROSClock",
    "ReentrantCallbackGroup",
    "ReliabilityPolicy",
    "SingleThreadedExecutor",
    "State",
    "Subscription",
    "SubscriptionEventCallbacks",
    "Time",
    "TimeJump",
    "Timer",
    "TransitionCallbackReturn",
    "UnsupportedEventTypeError",
    "deserialize_message",
    "init",
    "ok",
    "qos_profile_sensor_data",
    "qos_profile_system_default",
    "serialize_message",
    "shutdown",
    "spin",
    "spin_once",
    "try_shutdown",
]
