"""Settings of the inference."""

from __future__ import annotations

from dataclasses import dataclass

from rlt_ros.rlt.parameters import check, parameter


@dataclass(frozen=True)
class InferenceConfig:
    """How requests are answered."""

    patience: float = parameter(
        0.5,
        help="How long a request waits for the observation and the steps that belong to it before it is answered with "
        "what is there.",
        unit="s",
        low=0.0,
        source="ours; ten frames at 20 Hz",
    )
    max_observation_age: float = parameter(
        0.1,
        help="Oldest observation that a chunk or a state is computed from, relative to its control step.",
        unit="s",
        low=0.001,
        source="ours; three frames at 30 Hz",
    )
    stale_after: int = parameter(
        20,
        help="Training episodes without a policy update after which the VLA acts again; 0 for never. Counted in "
        "episodes, not in seconds: a learner that is caught up while the robot rests has nothing to send.",
        unit="episodes",
        low=0,
        source="ours",
    )

    def __post_init__(self) -> None:
        check(self)
