"""Quality of service: the policies that nodes choose, and their DDS form."""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from cyclonedds.qos import Policy, Qos

_INFINITE = 2**63 - 1  # ns; Cyclone's "for ever"


class HistoryPolicy(enum.IntEnum):
    """Which samples are kept for a reader that is slow."""

    SYSTEM_DEFAULT = 0
    KEEP_LAST = 1
    KEEP_ALL = 2


class ReliabilityPolicy(enum.IntEnum):
    """Return whether lost samples are sent again."""

    SYSTEM_DEFAULT = 0
    RELIABLE = 1
    BEST_EFFORT = 2


class DurabilityPolicy(enum.IntEnum):
    """Return whether who joins later gets what was sent before."""

    SYSTEM_DEFAULT = 0
    TRANSIENT_LOCAL = 1
    VOLATILE = 2


QoSHistoryPolicy, QoSReliabilityPolicy, QoSDurabilityPolicy = (
    HistoryPolicy,
    ReliabilityPolicy,
    DurabilityPolicy,
)


class QoSPolicyKind(enum.IntEnum):
    """Names of policies, as `rmw` numbers them."""

    INVALID = 1
    DURABILITY = 2
    DEADLINE = 4
    LIVELINESS = 8
    RELIABILITY = 16
    HISTORY = 32
    LIFESPAN = 64
    DEPTH = 128


class InvalidQoSProfileException(Exception):
    """A profile that says too little."""

    def __init__(self, text: str) -> None:
        super().__init__(f"Invalid QoSProfile: {text}")


class QoSProfile:
    """History, reliability and durability of an endpoint; keyword arguments alone, as Humble has it.

    Args:
        history: which samples to keep; left out, the newest `depth`.
        depth: how many to keep, with KEEP_LAST.
        reliability: RELIABLE unless said.
        durability: VOLATILE unless said.
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

    __hash__ = None  # type: ignore[assignment]  # it can be changed

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
    """How often an endpoint of the other kind did not fit.

    Attributes:
        total_count: endpoints so far.
        total_count_change: since this was last told.
        last_policy_kind: policy that did not fit the last time.
    """

    total_count: int
    total_count_change: int
    last_policy_kind: QoSPolicyKind


class UnsupportedEventTypeError(Exception):
    """The middleware cannot tell such news; Cyclone DDS can, but nodes must expect it of others."""


class SubscriptionEventCallbacks:
    """What to call when the middleware has news about a subscription; without a choice a warning is logged."""

    def __init__(
        self,
        *,
        incompatible_qos: Callable[[IncompatibleQoSInfo], None] | None = None,
        use_default_callbacks: bool = True,
    ) -> None:
        self.incompatible_qos = incompatible_qos
        self.use_default_callbacks = use_default_callbacks


class PublisherEventCallbacks(SubscriptionEventCallbacks):
    """The same for a publisher."""


class QoSOverridingOptions:
    """Which policies of an endpoint the user may override with `qos_overrides.…` parameters."""

    def __init__(self, policy_kinds: Iterable[QoSPolicyKind]) -> None:
        self.policy_kinds = tuple(policy_kinds)

    @classmethod
    def with_default_policies(cls) -> QoSOverridingOptions:
        """History, depth and reliability."""
        return cls((QoSPolicyKind.HISTORY, QoSPolicyKind.DEPTH, QoSPolicyKind.RELIABILITY))


class InvalidQosOverridesError(Exception):
    """An override that names no policy value."""


def overridden(
    profile: QoSProfile, policy_kinds: Iterable[QoSPolicyKind], declare: Callable[[str, Any], Any]
) -> QoSProfile:
    """A copy of ``profile`` with the values that ``declare(policy name, default)`` gives back."""
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
    """A profile, or the one that keeps the newest ``qos`` samples."""
    return qos if isinstance(qos, QoSProfile) else QoSProfile(depth=qos)


def to_dds(profile: QoSProfile, *policies: Any) -> Qos:
    """The DDS policies that `rmw_cyclonedds_cpp` makes of a profile, and ``policies``."""
    keep_all = profile.history == HistoryPolicy.KEEP_ALL
    history = Policy.History.KeepAll if keep_all else Policy.History.KeepLast(max(1, profile.depth))
    best_effort = profile.reliability == ReliabilityPolicy.BEST_EFFORT
    chosen = [
        history,
        Policy.Reliability.BestEffort if best_effort else Policy.Reliability.Reliable(_INFINITE),
        Policy.Durability.Volatile,
        Policy.DataRepresentation(use_cdrv0_representation=True),
        Policy.WriterDataLifecycle(autodispose=False),
    ]
    if profile.durability == DurabilityPolicy.TRANSIENT_LOCAL:
        # Cyclone takes what it keeps for those who join later from the durability service, not from the history.
        chosen[2:3] = [Policy.Durability.TransientLocal, Policy.DurabilityService(0, history, -1, -1, -1)]
    return Qos(*chosen, *policies)


def from_dds(qos: Qos) -> QoSProfile:
    """The profile of a remote endpoint. History and depth do not travel, so they are reported as system default."""
    reliable = isinstance(qos[Policy.Reliability], Policy.Reliability.Reliable)
    latched = qos[Policy.Durability] != Policy.Durability.Volatile
    return QoSProfile(
        history=HistoryPolicy.SYSTEM_DEFAULT,
        depth=0,
        reliability=ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT,
        durability=DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE,
    )


def policy_kind(dds_policy: int) -> QoSPolicyKind:
    """The policy that DDS numbers ``dds_policy``."""
    return {
        2: QoSPolicyKind.DURABILITY,
        4: QoSPolicyKind.DEADLINE,
        8: QoSPolicyKind.LIVELINESS,
        11: QoSPolicyKind.RELIABILITY,
        13: QoSPolicyKind.HISTORY,
    }.get(dds_policy, QoSPolicyKind.INVALID)
