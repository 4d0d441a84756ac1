"""What a robot profile says about the simulated workcell of its robot: where the arm works, and where cameras sit."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from rlt_ros.rlt.parameters import ConfigError, check, parameter


@dataclasses.dataclass(frozen=True)
class SimulatedCamera:
    """Where one of `cameras` sits in the simulator."""

    link: str = parameter(dataclasses.MISSING, help="Link of the URDF that it is fixed to.")
    position: tuple[float, ...] = parameter(
        dataclasses.MISSING, help="Its place in that link: x, y, z.", unit="m"
    )
    aim: tuple[float, ...] = parameter(
        dataclasses.MISSING, help="A point of that link that it looks at.", unit="m"
    )
    up: tuple[float, ...] = parameter(
        dataclasses.MISSING, help="Direction in that link that is up in the picture."
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
    """The robot in the simulator. Left out, the simulator cannot stand in for it."""

    at_fixture: tuple[float, ...] = parameter(
        dataclasses.MISSING,
        help="Joint positions with the tool mated: fixture and start are drawn around it. z of `tip_frame` points out "
        "of the hand. Keep away from joint limits and singularities.",
        unit="rad",
    )
    bench: tuple[float, ...] = parameter(
        dataclasses.MISSING, help="Middle of the bench's board in `base_frame`: x, y, z. For show.", unit="m"
    )
    cameras: Mapping[str, SimulatedCamera] = parameter(
        dataclasses.MISSING, help="Each of the robot's `cameras`, by the same names."
    )

    def __post_init__(self) -> None:
        check(self)
        if len(self.bench) != 3:
            raise ConfigError(f"`bench` has {len(self.bench)} values; it must have 3: x, y, z")
