"""Parameters of the executor."""

from __future__ import annotations

from dataclasses import dataclass

from rlt_ros.rlt.parameters import check, parameter

BLOCK, OVERLAP = "block", "overlap"


@dataclass(frozen=True)
class ControlConfig:
    """How control steps follow each other, and how long an input may be silent."""

    lock_step: bool = parameter(
        False,
        help="Step with the simulator: each joint state is answered by one command, after its chunk has come. "
        "Otherwise a steady clock sets the pace.",
    )
    boundary: str = parameter(
        BLOCK,
        help="At the end of a chunk, `block`: the arm holds until the next one, made from what is seen there, has "
        "come. `overlap`: the next one is asked for early, for where the arm will be then, and the arm goes on.",
        choices=(BLOCK, OVERLAP),
    )
    chunk_timeout: float = parameter(
        1.5,
        help="After this long without an answer a chunk is asked for again, and in lock-step the arm holds for a step.",
        unit="s",
        low=0.05,
        source="ours; below the 2 s that the simulator waits",
    )
    joint_state_timeout: float = parameter(
        0.06,
        help="Without a joint state for this long the arm holds.",
        unit="s",
        low=0.01,
        source="ours; three periods of 50 Hz, and a hold within 100 ms",
    )
    intervention_timeout: float = parameter(
        0.06,
        help="Without news from a human who acts for this long the arm holds until there are.",
        unit="s",
        low=0.01,
        source="ours; as for joint states",
    )
    e_stop_timeout: float = parameter(
        0.0,
        help="Without a message on `rlt/hardware_e_stop` for this long the arm is stopped; 0 where the robot's e-stop "
        "speaks only when it is pressed or released, or not at all.",
        unit="s",
        low=0.0,
    )
    max_chunk_age: float = parameter(
        1.0,
        help="A chunk from an observation older than this is not used.",
        unit="s",
        low=0.01,
        source="ours; a VLA's pass takes 0.05 to 0.3 s",
    )
    overlap_delay: float = parameter(
        0.12,
        help="In `overlap`, ask for a chunk so long before it begins: its picture is then as old. At least what "
        "camera, VLA, token and actor take, of which `/diagnostics` tells; more than a chunk lasts is of no use. It "
        "never varies: the actor learns to act with it, and is worse with another one.",
        unit="s",
        low=0.001,
        source="ours; a VLA's pass takes 0.05 to 0.3 s",
    )

    def __post_init__(self) -> None:
        check(self)
