"""Names of rclpy, implemented on Cyclone DDS."""

from __future__ import annotations

from rlt_ros.middleware.dds.callback_groups import (
    CallbackGroup,
    MutuallyExclusiveCallbackGroup,
    ReentrantCallbackGroup,
)
from rlt_ros.middleware.dds.clock import Clock, ClockChange, JumpThreshold, ROSClock, TimeJump
from rlt_ros.middleware.dds.context import NotInitializedException as RCLError
from rlt_ros.middleware.dds.context import init, ok, shutdown, try_shutdown
from rlt_ros.middleware.dds.endpoints import Publisher, Subscription
from rlt_ros.middleware.dds.executors import (
    Executor,
    ExternalShutdownException,
    MultiThreadedExecutor,
    SingleThreadedExecutor,
    spin,
    spin_once,
)
from rlt_ros.middleware.dds.lifecycle import (
    LifecycleNode,
    LifecyclePublisher,
    State,
    TransitionCallbackReturn,
)
from rlt_ros.middleware.dds.message import deserialize_message, serialize_message
from rlt_ros.middleware.dds.node import Node
from rlt_ros.middleware.dds.parameters import (
    InvalidParameterTypeException,
    InvalidParameterValueException,
    Parameter,
    ParameterAlreadyDeclaredException,
    ParameterNotDeclaredException,
)
from rlt_ros.middleware.dds.qos import (
    DurabilityPolicy,
    HistoryPolicy,
    PublisherEventCallbacks,
    QoSOverridingOptions,
    QoSPolicyKind,
    QoSProfile,
    ReliabilityPolicy,
    SubscriptionEventCallbacks,
    UnsupportedEventTypeError,
    qos_profile_sensor_data,
    qos_profile_system_default,
)
from rlt_ros.middleware.dds.time import ClockType, Duration, Time
from rlt_ros.middleware.dds.timer import Timer

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
