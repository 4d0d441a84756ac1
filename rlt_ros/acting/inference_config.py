"""Settings of the inference."""

from __future__ import annotations

from dataclasses import dataclass

from rlt_ros.store.parameters import check, parameter


@dataclass(frozen=True)
class InferenceConfig:
    """Time-outs and staleness of the inference."""

    patience: float = parameter(
        0.5,
        help="Time-out of a request for its observation and steps; then it is answered from the available ones.",
        unit="s",
        low=0.0,
        source="ours; ten frames at 20 Hz",
    )
    max_observation_age: float = parameter(
        0.1,
        help="Largest age of an observation at the control step of its chunk or state.",
        unit="s",
        low=0.001,
        source="ours; three frames at 30 Hz",
    )
    stale_after: int = parameter(
        20,
        help="Training episodes without a policy update until the VLA acts again; 0 for never. Counted in episodes "
        "rather than seconds, since a learner without debt sends nothing while the robot rests.",
        unit="episodes",
        low=0,
        source="ours",
    )

    def __post_init__(self) -> None:
        check(self)
