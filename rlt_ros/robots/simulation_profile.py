"""Simulation section of a robot profile: working position of the arm, and camera poses."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from rlt_ros.store.parameters import ConfigError, check, parameter


@dataclasses.dataclass(frozen=True)
class SimulatedCamera:
    """Pose of one of `cameras` in the simulator."""

    link: str = parameter(dataclasses.MISSING, help="Link of the URDF that carries the camera.")
    position: tuple[float, ...] = parameter(
        dataclasses.MISSING, help="Position in that link: x, y, z.", unit="m"
    )
    aim: tuple[float, ...] = parameter(
        dataclasses.MISSING, help="Point in that link on the optical axis: x, y, z.", unit="m"
    )
    up: tuple[float, ...] = parameter(
        dataclasses.MISSING, help="Direction in that link that points up in the image: x, y, z."
    )
    fovy: float = parameter(32.0, help="Vertical field of view.", unit="degrees", low=1.0, high=150.0)

    def __post_init__(self) -> None:
        check(self)
        for name in ("position", "aim", "up"):
            if len(getattr(self, name)) != 3:
                raise ConfigError(f"`{name}` has {len(getattr(self, name))} values; it must have 3: x, y, z")
        if self.position == self.aim or not any(self.up):
            raise ConfigError(
                "`aim` must differ from `position`, and `up` from 0, or the camera has no direction"
            )


@dataclasses.dataclass(frozen=True)
class SimulationProfile:
    """Robot in the simulator; left out, the robot cannot be simulated."""

    at_fixture: tuple[float, ...] = parameter(
        dataclasses.MISSING,
        help="Joint positions with the tool mated; fixture and start positions are sampled around them. z of "
        "`tip_frame` points out of the hand. Keep away from joint limits and singularities.",
        unit="rad",
    )
    bench: tuple[float, ...] = parameter(
        dataclasses.MISSING,
        help="Centre of the bench's board in `base_frame`: x, y, z; only visual.",
        unit="m",
    )
    cameras: Mapping[str, SimulatedCamera] = parameter(
        dataclasses.MISSING, help="Pose of each of the robot's `cameras`, under the same name."
    )

    def __post_init__(self) -> None:
        check(self)
        if len(self.bench) != 3:
            raise ConfigError(f"`bench` has {len(self.bench)} values; it must have 3: x, y, z")
