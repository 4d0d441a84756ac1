"""Safety section of a robot profile: limits in addition to those of the URDF."""

from __future__ import annotations

import dataclasses

from rlt_ros.store.parameters import ConfigError, check, parameter


@dataclasses.dataclass(frozen=True)
class SafetyProfile:
    """Limits of the arm in addition to those of its URDF: one number for all joints, or one per joint."""

    position_margin: tuple[float, ...] = parameter(
        (0.0,), help="Distance that commands keep from the joint limits of the URDF.", unit="rad", low=0.0
    )
    velocity: tuple[float, ...] | None = parameter(
        None, help="Greatest speed of the command; left out, that of the URDF.", unit="rad/s", low=1e-3
    )
    acceleration: tuple[float, ...] | None = parameter(
        None, help="Greatest acceleration of the command; left out, none.", unit="rad/s²", low=1e-3
    )
    lead: tuple[float, ...] = parameter(
        (0.12,),
        help="Greatest distance of the command from the measured position; bounds the force on contact.",
        unit="rad",
        low=1e-4,
    )
    step: tuple[float, ...] | None = parameter(
        None, help="Greatest distance between successive commands; left out, none.", unit="rad", low=1e-5
    )
    workspace: tuple[float, ...] | None = parameter(
        None,
        help="Box in `base_frame` that `tip_frame` never leaves: least x, y, z, then greatest x, y, z. "
        "Left out, none.",
        unit="m",
    )
    deviation: float | None = parameter(
        None,
        help="Greatest distance of an action from the VLA's, for every joint; left out, none.",
        unit="policy units",
        low=1e-3,
    )

    def __post_init__(self) -> None:
        check(self)
        if self.workspace is None:
            return
        if len(self.workspace) != 6 or any(
            a >= b for a, b in zip(self.workspace[:3], self.workspace[3:], strict=True)
        ):
            raise ConfigError(
                f"`workspace` is {list(self.workspace)}; it must be xmin, ymin, zmin, xmax, ymax, zmax, each "
                "greatest value above its least"
            )
