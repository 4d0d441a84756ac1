"""Parameters of the executor."""

from __future__ import annotations

from dataclasses import dataclass

from rlt_ros.store.parameters import check, parameter

BLOCK, OVERLAP = "block", "overlap"


@dataclass(frozen=True)
class ControlConfig:
    """Pacing of the control steps, and time-outs of their inputs."""

    lock_step: bool = parameter(
        False,
        help="Step with the simulator: each joint state is answered by one command, after its chunk has arrived. "
        "Otherwise a steady clock sets the pace.",
    )
    boundary: str = parameter(
        BLOCK,
        help="Behaviour at the end of a chunk. `block`: the arm holds until the next chunk, computed from an "
        "observation of the held arm, has arrived. `overlap`: the next chunk is requested early, for the predicted "
        "position, and the arm keeps moving.",
        choices=(BLOCK, OVERLAP),
    )
    chunk_timeout: float = parameter(
        1.5,
        help="Time without an answer after which a chunk is requested again; in lock-step the arm then holds for a "
        "step.",
        unit="s",
        low=0.05,
        source="ours; below the 2 s that the simulator waits",
    )
    joint_state_timeout: float = parameter(
        0.06,
        help="Time without a joint state after which the arm holds.",
        unit="s",
        low=0.01,
        source="ours; three periods of 50 Hz, and a hold within 100 ms",
    )
    intervention_timeout: float = parameter(
        0.06,
        help="Time without an intervention from an acting human after which the arm holds until the next one.",
        unit="s",
        low=0.01,
        source="ours; as for joint states",
    )
    e_stop_timeout: float = parameter(
        0.0,
        help="Time without a message on `rlt/hardware_e_stop` after which the arm is stopped; 0 where the robot's "
        "e-stop publishes only when it is pressed or released, or not at all.",
        unit="s",
        low=0.0,
    )
    max_chunk_age: float = parameter(
        1.0,
        help="Greatest age of the observation of a chunk that is executed.",
        unit="s",
        low=0.01,
        source="ours; a VLA's pass takes 0.05 to 0.3 s",
    )
    overlap_delay: float = parameter(
        0.12,
        help="In `overlap`, time from the request for a chunk to its first step, and so the age of its images there. "
        "At least the latency of camera, VLA, token and actor, which `/diagnostics` reports; more than the duration "
        "of a chunk has no effect. Keep it constant: the actor learns with this delay, and is worse with another one.",
        unit="s",
        low=0.001,
        source="ours; a VLA's pass takes 0.05 to 0.3 s",
    )

    def __post_init__(self) -> None:
        check(self)
