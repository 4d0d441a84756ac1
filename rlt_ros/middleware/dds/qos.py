"""Quality of service: policies of nodes, and their DDS form."""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from cyclonedds.qos import Policy, Qos

_INFINITE_NS = 2**63 - 1
"""Cyclone's infinite time, ns."""


class HistoryPolicy(enum.IntEnum):
    """Samples that are kept for a slow reader."""

    SYSTEM_DEFAULT = 0
    KEEP_LAST = 1
    KEEP_ALL = 2


class ReliabilityPolicy(enum.IntEnum):
    """Repetition of lost samples."""

    SYSTEM_DEFAULT = 0
    RELIABLE = 1
    BEST_EFFORT = 2


class DurabilityPolicy(enum.IntEnum):
    """Delivery of earlier samples to late joiners."""

    SYSTEM_DEFAULT = 0
    TRANSIENT_LOCAL = 1
    VOLATILE = 2


QoSHistoryPolicy, QoSReliabilityPolicy, QoSDurabilityPolicy = (
    HistoryPolicy,
    ReliabilityPolicy,
    DurabilityPolicy,
)


class QoSPolicyKind(enum.IntEnum):
    """Kind of a policy, with the numbers of `rmw`."""

    INVALID = 1
    DURABILITY = 2
    DEADLINE = 4
    LIVELINESS = 8
    RELIABILITY = 16
    HISTORY = 32
    LIFESPAN = 64
    DEPTH = 128


class InvalidQoSProfileException(Exception):
    """Incomplete profile."""

    def __init__(self, text: str) -> None:
        super().__init__(f"Invalid QoSProfile: {text}")


class QoSProfile:
    """History, reliability and durability of an endpoint; keyword arguments only, as in Humble.

    Args:
        history: kept samples; by default the newest `depth`.
        depth: number of kept samples, with KEEP_LAST.
        reliability: reliability.
        durability: durability.
    """

    def __init__(
        self,
        *,
        history: HistoryPolicy | None = None,
        depth: int | None = None,
        reliability: ReliabilityPolicy = ReliabilityPolicy.RELIABLE,
        durability: DurabilityPolicy = DurabilityPolicy.VOLATILE,
    ) -> None:
        if history is None and depth is None:
            raise InvalidQoSProfileException("History and/or depth settings are required.")
        if history == HistoryPolicy.KEEP_LAST and depth is None:
            raise InvalidQoSProfileException("History set to KEEP_LAST without a depth setting.")
        self.history = HistoryPolicy.KEEP_LAST if history is None else HistoryPolicy(history)
        self.depth = 10 if depth is None else depth
        self.reliability = ReliabilityPolicy(reliability)
        self.durability = DurabilityPolicy(durability)

    def __eq__(self, other: object) -> bool:
        return vars(self) == vars(other) if isinstance(other, QoSProfile) else NotImplemented

    # Mutable.
    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        values = ", ".join(f"{name}={getattr(value, 'name', value)}" for name, value in vars(self).items())
        return f"QoSProfile({values})"


qos_profile_system_default = QoSProfile(
    history=HistoryPolicy.SYSTEM_DEFAULT,
    depth=0,
    reliability=ReliabilityPolicy.SYSTEM_DEFAULT,
    durability=DurabilityPolicy.SYSTEM_DEFAULT,
)
qos_profile_sensor_data = QoSProfile(depth=5, reliability=ReliabilityPolicy.BEST_EFFORT)


@dataclass(frozen=True)
class IncompatibleQoSInfo:
    """Number of incompatible endpoints.

    Attributes:
        total_count: endpoints so far.
        total_count_change: endpoints since the last event.
        last_policy_kind: incompatible policy of the last one.
    """

    total_count: int
    total_count_change: int
    last_policy_kind: QoSPolicyKind


class UnsupportedEventTypeError(Exception):
    """The middleware does not support the event; raised by other middlewares than Cyclone DDS."""


class SubscriptionEventCallbacks:
    """Callbacks of a subscription's events; by default a warning is logged."""

    def __init__(
        self,
        *,
        incompatible_qos: Callable[[IncompatibleQoSInfo], None] | None = None,
        use_default_callbacks: bool = True,
    ) -> None:
        self.incompatible_qos = incompatible_qos
        self.use_default_callbacks = use_default_callbacks


class PublisherEventCallbacks(SubscriptionEventCallbacks):
    """Callbacks of a publisher's events."""


class QoSOverridingOptions:
    """Policies of an endpoint that `qos_overrides.…` parameters may override."""

    def __init__(self, policy_kinds: Iterable[QoSPolicyKind]) -> None:
        self.policy_kinds = tuple(policy_kinds)

    @classmethod
    def with_default_policies(cls) -> QoSOverridingOptions:
        """Allow history, depth and reliability."""
        return cls((QoSPolicyKind.HISTORY, QoSPolicyKind.DEPTH, QoSPolicyKind.RELIABILITY))


class InvalidQosOverridesError(Exception):
    """Invalid value of an overridden policy."""


def overridden(
    profile: QoSProfile, policy_kinds: Iterable[QoSPolicyKind], declare: Callable[[str, Any], Any]
) -> QoSProfile:
    """Copy of ``profile`` with the values returned by ``declare(policy name, default)``."""
    result = QoSProfile(**vars(profile))
    for kind in policy_kinds:
        name = kind.name.lower()
        default = getattr(profile, name)
        value = declare(name, default.name.lower() if isinstance(default, enum.Enum) else default)
        if isinstance(default, enum.Enum):
            try:
                value = type(default)[str(value).upper()]
            except KeyError:
                allowed = ", ".join(choice.name.lower() for choice in type(default))
                raise InvalidQosOverridesError(f"`{name}` is `{value}`; allowed: {allowed}") from None
        setattr(result, name, value)
    return result


def as_profile(qos: QoSProfile | int) -> QoSProfile:
    """Profile as given, or one that keeps the newest ``qos`` samples."""
    return qos if isinstance(qos, QoSProfile) else QoSProfile(depth=qos)


def to_dds(profile: QoSProfile, *policies: Any) -> Qos:
    """DDS policies of a profile, as in `rmw_cyclonedds_cpp`, with additional ``policies``."""
    keep_all = profile.history == HistoryPolicy.KEEP_ALL
    history = Policy.History.KeepAll if keep_all else Policy.History.KeepLast(max(1, profile.depth))
    best_effort = profile.reliability == ReliabilityPolicy.BEST_EFFORT
    chosen = [
        history,
        Policy.Reliability.BestEffort if best_effort else Policy.Reliability.Reliable(_INFINITE_NS),
        Policy.Durability.Volatile,
        Policy.DataRepresentation(use_cdrv0_representation=True),
        Policy.WriterDataLifecycle(autodispose=False),
    ]
    if profile.durability == DurabilityPolicy.TRANSIENT_LOCAL:
        # Cyclone's depth for late joiners is that of the durability service, not of the history.
        chosen[2:3] = [Policy.Durability.TransientLocal, Policy.DurabilityService(0, history, -1, -1, -1)]
    return Qos(*chosen, *policies)


def from_dds(qos: Qos) -> QoSProfile:
    """Profile of a remote endpoint. History and depth are not discovered and reported as system default."""
    reliable = isinstance(qos[Policy.Reliability], Policy.Reliability.Reliable)
    latched = qos[Policy.Durability] != Policy.Durability.Volatile
    return QoSProfile(
        history=HistoryPolicy.SYSTEM_DEFAULT,
        depth=0,
        reliability=ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT,
        durability=DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE,
    )


def policy_kind(dds_policy: int) -> QoSPolicyKind:
    """Policy with the DDS number ``dds_policy``."""
    return {
        2: QoSPolicyKind.DURABILITY,
        4: QoSPolicyKind.DEADLINE,
        8: QoSPolicyKind.LIVELINESS,
        11: QoSPolicyKind.RELIABILITY,
        13: QoSPolicyKind.HISTORY,
    }.get(dds_policy, QoSPolicyKind.INVALID)
