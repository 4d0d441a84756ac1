"""Everything about one robot that is no code: joints, topics, cameras, frames and limits, from one YAML file.

The files are in ``config/robots/``. A profile is found by its name there, or by the path of a file of one's own. What
is in a file is checked when it is read; an error names file, key and what is allowed.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rlt_ros.rlt.parameters import ConfigError, build, check, parameter
from rlt_ros.robots.gripper import TOPIC_TYPES, GripperProfile
from rlt_ros.robots.interface import (
    CameraProfile,
    CommandProfile,
    PartProfile,
    canonical_topic,
    check_distinct,
)
from rlt_ros.robots.profile_file import extended
from rlt_ros.robots.safety import Array, Limits
from rlt_ros.robots.safety_profile import SafetyProfile
from rlt_ros.robots.simulation_profile import SimulationProfile
from rlt_ros.robots.tracked_joints import TrackedJoints, build_tracked_joints
from rlt_ros.robots.turns import Mask
from rlt_ros.robots.urdf_joints import KinematicsError, read_joints
from rlt_ros.share import require_yaml_file, shipped

DEFAULT_ROBOT = "agibot_g1_geniesim"
"""The robot where none is named."""

if TYPE_CHECKING:
    from rlt_ros.robots.kinematics import Kinematics

_PACKAGE = Path(__file__).resolve().parents[1]


@dataclasses.dataclass(frozen=True)
class RobotProfile:
    """One robot, or one arm of it.

    Every joint vector of this package has the order of ``joints``, whatever the order in messages.
    """

    name: str = parameter(dataclasses.MISSING, help="Name of the profile; the same as the file's.")
    base_frame: str = parameter(
        dataclasses.MISSING, help="Root link of the URDF: frame of poses and of the workspace."
    )
    tip_frame: str = parameter(dataclasses.MISSING, help="Link that a human moves, usually the tool centre.")
    urdf: str = parameter(
        dataclasses.MISSING,
        help="The robot's URDF: an absolute path, or one relative to the profile's file or to the `rlt_ros` package.",
    )
    joints: tuple[str, ...] = parameter(
        dataclasses.MISSING, help="Joints of the arm that the policy moves, in the order of the policy."
    )
    control_hz: float = parameter(
        dataclasses.MISSING, help="Rate of commands.", unit="Hz", low=1.0, high=1000.0
    )
    cameras: Mapping[str, CameraProfile] = parameter(
        dataclasses.MISSING,
        help="Name as the VLA knows it → camera. The first one sets the pace of observations.",
    )
    joint_states: str = parameter("joint_states", help="Topic of the measured joint states.")
    reliable_sensors: bool = parameter(
        False,
        help="Whether joint states and pictures are published reliably, so that they can be subscribed to so, as "
        "lock-step needs it. Many drivers do not.",
    )
    command: CommandProfile = dataclasses.field(default_factory=CommandProfile)
    message_names: Mapping[str, str] | None = parameter(
        None,
        help="Joint of the URDF, the gripper's included, → its name in joint states and commands, where it is another.",
    )
    joint_order: tuple[str, ...] | None = parameter(
        None,
        help="Joints in the order in which joint states have them, if these have no names, or names that mean nothing; "
        "left out, names count.",
    )
    unit: str = parameter(
        "rad", help="Unit of joint angles in joint states and commands.", choices=("rad", "deg")
    )
    parts: Mapping[str, PartProfile] | None = parameter(
        None,
        help="Drivers of a robot that has several, such as one for each of two arms; they stand in for "
        "`joint_states`, `command`, `message_names`, `joint_order` and `unit`.",
    )
    continuous_joints: tuple[str, ...] | None = parameter(
        None,
        help="Joints that turn without end and that the driver may report in any turn, as in (-π, π]; positions are "
        "unwrapped and compared modulo a turn. Left out, those whose type in the URDF is `continuous`; an empty list "
        "where the driver counts turns. Each must turn more than once within its limits.",
    )
    safety: SafetyProfile = dataclasses.field(default_factory=SafetyProfile)
    gripper: GripperProfile | None = parameter(
        None, help="The gripper, as far as a human shall open and close it; left out, nobody commands one."
    )
    posture: Mapping[str, float] | None = parameter(
        None,
        help="Where the joints outside the arm stand while it works; those not named stand at 0.",
        unit="rad or m",
    )
    home: tuple[float, ...] | None = parameter(
        None,
        help="Joint positions in which an episode may begin; left out, any.",
        unit="rad",
    )
    simulation: SimulationProfile | None = parameter(
        None, help="The robot in the simulator; left out, `sim_node` cannot stand in for it."
    )
    folder: str = parameter("", help="Folder of the profile's file; set when it is read.")

    def __post_init__(self) -> None:
        check(self)
        if not self.joints or len(set(self.joints)) != len(self.joints):
            raise ConfigError(f"`joints` is {list(self.joints)}; name each joint of the arm once")
        if not self.cameras:
            raise ConfigError("`cameras` is empty; a VLA needs one camera at least")
        both = sorted(set(self.joints) & set(self.posture or {}))
        if both:
            raise ConfigError(f"`posture` names {both}, which belong to `joints`; leave them out")
        if self.gripper is not None and self.gripper.joint in self.joints:
            raise ConfigError(
                f"`gripper.joint` is {self.gripper.joint}, which belongs to `joints`; what the policy moves is not the "
                "human's alone"
            )
        self._check_drivers()
        check_distinct(self._topics())
        foreign = [name for name in self.continuous_joints or () if name not in (*self.joints, *self.held)]
        if foreign:
            raise ConfigError(
                f"`continuous_joints` names {', '.join(foreign)}; it can name those of `joints` and of `command.order`"
            )
        for name in ("position_margin", "velocity", "acceleration", "lead", "step"):
            self._per_joint(name)
        if self.home is not None and len(self.home) != self.dim:
            raise ConfigError(
                f"`home` has {len(self.home)} values; it must have {self.dim}, one for each joint"
            )
        self._check_simulation()

    @property
    def dim(self) -> int:
        """Number of joints A."""
        return len(self.joints)

    @cached_property
    def drivers(self) -> tuple[PartProfile, ...]:
        """Who measures and moves the joints: the parts, or the one driver of all."""
        if self.parts is not None:
            return tuple(self.parts.values())
        names, order = self.message_names, self.joint_order
        return (PartProfile(self.joints, self.joint_states, self.command, names, order, self.unit),)

    @cached_property
    def held(self) -> tuple[str, ...]:
        """Joints H that commands must have and that the policy does not move, driver by driver."""
        return tuple(joint for part in self.drivers for joint in part.held)

    @property
    def gripper_told(self) -> str | None:
        """Name of the gripper's joint in messages; None without a gripper."""
        if self.gripper is None:
            return None
        joint = self.gripper.joint
        return next((part.told(joint) for part in self.drivers if joint in (part.message_names or {})), joint)

    def _topics(self) -> dict[str, str]:
        """Key → topic. Parts may share a topic of joint states: one broadcaster can measure two arms."""
        topics = {f"cameras.{name}.topic": camera.topic for name, camera in self.cameras.items()}
        measured: set[str] = set()
        for name, part in (self.parts or {"": self.drivers[0]}).items():
            prefix = f"parts.{name}." if name else ""
            topics[f"{prefix}command.topic"] = part.command.topic
            if canonical_topic(part.joint_states) not in measured:
                topics[f"{prefix}joint_states"] = part.joint_states
            measured.add(canonical_topic(part.joint_states))
        if self.gripper is not None and self.gripper.topic is not None and self.gripper.type in TOPIC_TYPES:
            topics["gripper.topic"] = self.gripper.topic
        return topics

    def _check_drivers(self) -> None:
        if self.parts is not None:
            alone = PartProfile(self.joints, RobotProfile.joint_states)
            both = [
                name
                for name in ("joint_states", "command", "message_names", "joint_order", "unit")
                if getattr(self, name) != getattr(alone, name)
            ]
            if both:
                raise ConfigError(f"`parts` stands in for `{both[0]}`; give it for each part")
            owned = sorted(joint for part in self.parts.values() for joint in part.joints)
            if owned != sorted(self.joints):
                raise ConfigError(
                    f"`parts` have the joints {owned}; each of `joints` must belong to one of them"
                )
        for part in self.drivers:
            known = {
                *part.carried,
                *(part.joint_order or ()),
                *([self.gripper.joint] if self.gripper else []),
            }
            foreign = sorted(set(part.message_names or {}) - known)
            if foreign:
                raise ConfigError(
                    f"`message_names` has {', '.join(foreign)}, which are no joints of this robot"
                )
        types = {part.command.type for part in self.drivers}
        if self.gripper is not None and self.gripper.type == "joint" and types != {"joint_state"}:
            raise ConfigError(
                f"`gripper.type` is joint, but commands are {', '.join(sorted(types))}, which has no room for one more "
                "joint; give the gripper a topic or an action of its own"
            )

    def _check_simulation(self) -> None:
        simulation = self.simulation
        if simulation is None:
            return
        if len(simulation.at_fixture) != self.dim:
            raise ConfigError(
                f"`simulation.at_fixture` has {len(simulation.at_fixture)} values; it must have {self.dim}"
            )
        if set(simulation.cameras) != set(self.cameras):
            raise ConfigError(
                f"`simulation.cameras` are {', '.join(simulation.cameras)}; they must be {', '.join(self.cameras)}"
            )

    @cached_property
    def urdf_path(self) -> Path:
        """The URDF's absolute path.

        Raises:
            ConfigError: there is no such file.
        """
        tried = [Path(self.folder) / self.urdf, _PACKAGE / self.urdf]
        for path in tried:
            if path.is_file():
                return path.resolve()
        raise ConfigError(
            f"profile {self.name}: `urdf` is {self.urdf}, and there is neither {tried[0]} nor {tried[1]}"
        )

    @cached_property
    def tracked_joints(self) -> TrackedJoints:
        """Limits of `joints` and `held` joints (A + H) for the joint tracker, from the URDF alone.

        Raises:
            ConfigError: the URDF cannot be read or lacks a joint of the arm, or `continuous_joints` does not fit it.
        """
        try:
            urdf = read_joints(self.urdf_path)
            home = dict(zip(self.joints, self.home or (), strict=False))
            return build_tracked_joints((*self.joints, *self.held), urdf, self.continuous_joints, home)
        except ValueError as error:
            raise ConfigError(f"profile {self.name}: {error}") from error

    @property
    def endless(self) -> frozenset[str]:
        """Joints, held ones included, that turn without end."""
        joints = self.tracked_joints
        return frozenset(name for name, one in zip(joints.names, joints.continuous, strict=True) if one)

    @property
    def continuous(self) -> Mask:
        """Joints (A,) that turn without end."""
        return self.tracked_joints.continuous[: self.dim]

    def kinematics(self) -> Kinematics:
        """Kinematics of the arm, the rest of the robot in its posture.

        Raises:
            ConfigError: the URDF lacks a joint or link that the profile names.
        """
        # Pinocchio is an optional dependency: a machine that only looks at cameras does without.
        from rlt_ros.robots.kinematics import Kinematics

        try:
            return Kinematics(self.urdf_path, self.joints, self.tip_frame, self.posture or {})
        except KinematicsError as error:
            raise ConfigError(f"profile {self.name}: {error}") from error

    def limits(self, arm: Kinematics | None = None) -> Limits:
        """Limits of the profile together with those of the URDF: the stricter of the two.

        Args:
            arm: its kinematics, if they are at hand.

        Raises:
            ConfigError: the margins leave a joint no range, or the numbers of URDF or profile cannot be meant.
        """
        from rlt_ros.robots.plausible import implausible_limits, outside

        arm = arm or self.kinematics()
        for problem in implausible_limits(arm):
            raise ConfigError(f"profile {self.name}: {self.urdf_path}: {problem}")
        margin, velocity = self._required("position_margin"), self._velocity(arm)
        box = self.safety.workspace
        try:
            limits = Limits(
                lower=arm.lower + margin,
                upper=arm.upper - margin,
                velocity=velocity,
                lead=self._required("lead"),
                acceleration=self._per_joint("acceleration"),
                step=self._per_joint("step"),
                workspace=None if box is None else np.array(box),
                deviation=self.safety.deviation,
                continuous=self.continuous,
            )
        except ValueError as error:
            raise ConfigError(f"profile {self.name}: {error}; check `safety` against the URDF") from error
        if self.home is not None:
            for problem in outside(self.joints, np.array(self.home), limits.lower, limits.upper):
                raise ConfigError(f"profile {self.name}: `home`: {problem}")
        return limits

    def _velocity(self, arm: Kinematics) -> Array:
        """Greatest speeds (A,), rad/s; a URDF that gives a joint none leaves it to the profile."""
        own = self._per_joint("velocity")
        unlimited = [
            joint for joint, speed in zip(self.joints, arm.velocity_limit, strict=True) if speed <= 0.0
        ]
        if own is None and unlimited:
            raise ConfigError(
                f"profile {self.name}: the URDF limits the velocity of {', '.join(unlimited)} to 0; set "
                "`safety.velocity`"
            )
        urdf = np.where(arm.velocity_limit > 0.0, arm.velocity_limit, np.inf)
        return urdf if own is None else np.minimum(own, urdf)

    def _required(self, name: str) -> Array:
        value = self._per_joint(name)
        assert value is not None, name
        return value

    def _per_joint(self, name: str) -> Array | None:
        """A limit as (A,), or None."""
        values = getattr(self.safety, name)
        if values is None:
            return None
        if len(values) not in (1, self.dim):
            raise ConfigError(
                f"`safety.{name}` has {len(values)} values; give one for all joints, or {self.dim}"
            )
        return np.broadcast_to(np.array(values), self.dim).copy()


def profile_names() -> list[str]:
    """Names of the profiles that are shipped."""
    return shipped("robots")


def load_profile(name_or_path: str | Path) -> RobotProfile:
    """The profile with a name in ``config/robots/``, or in a file of one's own (``….yaml``).

    Raises:
        ConfigError: there is none, or what it says cannot be; the message names file, key and what is allowed.
    """
    path = require_yaml_file("robots", "robot", name_or_path)
    mapping = extended(path)
    safety = mapping.get("safety")
    if isinstance(safety, dict):
        mapping = {**mapping, "safety": {key: _listed(key, value) for key, value in safety.items()}}
    if "folder" in mapping:
        raise ConfigError(f"{path}: `folder` is where the file is; leave it out")
    profile = build(RobotProfile, {**mapping, "folder": str(path.resolve().parent)}, origin=str(path))
    if profile.name != path.stem:
        raise ConfigError(f"{path}: `name` is {profile.name}; it must be {path.stem}, the file's name")
    return profile


def _listed(key: str, value: Any) -> Any:
    """One number for all joints as a list of one."""
    scalar = isinstance(value, int | float) and not isinstance(value, bool)
    return [value] if scalar and key != "deviation" else value
