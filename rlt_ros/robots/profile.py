"""Robot profile: joints, topics, cameras, frames and limits of one robot, from one YAML file.

Shipped profiles are in ``config/robots/``. A profile is loaded by its name there, or by the path of a file, and checked
at once; an error names file, key and allowed values.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

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
from rlt_ros.store.parameters import ConfigError, build, check, parameter

DEFAULT_ROBOT = "agibot_g1_geniesim"
"""Robot without a choice of the user."""

if TYPE_CHECKING:
    from rlt_ros.robots.kinematics import Kinematics

_PACKAGE = Path(__file__).resolve().parents[1]


@dataclasses.dataclass(frozen=True)
class RobotProfile:
    """One robot, or one arm of it.

    Every joint vector of this package has the order of ``joints``, independent of the order in messages.
    """

    name: str = parameter(dataclasses.MISSING, help="Name of the profile, and of its file.")
    base_frame: str = parameter(
        dataclasses.MISSING, help="Root link of the URDF: frame of poses and of the workspace."
    )
    tip_frame: str = parameter(dataclasses.MISSING, help="Link that a human moves, usually the tool centre.")
    urdf: str = parameter(
        dataclasses.MISSING,
        help="URDF of the robot: an absolute path, or relative to the profile's file or to the `rlt_ros` package.",
    )
    joints: tuple[str, ...] = parameter(
        dataclasses.MISSING, help="Joints of the arm that the policy moves, in the order of the policy."
    )
    control_hz: float = parameter(
        dataclasses.MISSING, help="Rate of commands.", unit="Hz", low=1.0, high=1000.0
    )
    cameras: Mapping[str, CameraProfile] = parameter(
        dataclasses.MISSING,
        help="Name of the camera in the VLA → camera. The first camera sets the rate of observations.",
    )
    joint_states: str = parameter("joint_states", help="Topic of the measured joint states.")
    reliable_sensors: bool = parameter(
        False,
        help="Subscribe reliably to joint states and images, as lock-step requires; their publishers must be reliable, "
        "and many drivers are not.",
    )
    command: CommandProfile = dataclasses.field(default_factory=CommandProfile)
    message_names: Mapping[str, str] | None = parameter(
        None,
        help="Joint of the URDF, also of the gripper → its name in joint states and commands, where that differs.",
    )
    joint_order: tuple[str, ...] | None = parameter(
        None,
        help="Joints in the order of joint states without usable names; left out, joints are matched by name.",
    )
    unit: str = parameter(
        "rad", help="Unit of joint angles in joint states and commands.", choices=("rad", "deg")
    )
    parts: Mapping[str, PartProfile] | None = parameter(
        None,
        help="Drivers of a robot with several, such as one per arm; they replace `joint_states`, `command`, "
        "`message_names`, `joint_order` and `unit`.",
    )
    continuous_joints: tuple[str, ...] | None = parameter(
        None,
        help="Joints that turn without end and that the driver may report in any turn, as in (-π, π]; positions are "
        "unwrapped and compared modulo a turn. Left out, the joints of type `continuous` in the URDF; an empty list "
        "if the driver counts turns. Each must turn more than once within its limits.",
    )
    safety: SafetyProfile = dataclasses.field(default_factory=SafetyProfile)
    gripper: GripperProfile | None = parameter(
        None, help="Gripper that a human opens and closes; left out, no gripper is commanded."
    )
    posture: Mapping[str, float] | None = parameter(
        None,
        help="Positions of the joints outside the arm while it works; all others are at 0.",
        unit="rad or m",
    )
    home: tuple[float, ...] | None = parameter(
        None,
        help="Joint positions at which an episode may begin; left out, any.",
        unit="rad",
    )
    simulation: SimulationProfile | None = parameter(
        None, help="Robot in the simulator; left out, `sim_node` cannot simulate it."
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
                f"`gripper.joint` is {self.gripper.joint}, which belongs to `joints`; the policy moves these, and only "
                "a human moves the gripper"
            )
        self._check_drivers()
        check_distinct(self._topics())
        unknown = [name for name in self.continuous_joints or () if name not in (*self.joints, *self.held)]
        if unknown:
            raise ConfigError(
                f"`continuous_joints` names {', '.join(unknown)}; it may name joints of `joints` and `command.order`"
            )
        for name in ("position_margin", "velocity", "acceleration", "lead", "step"):
            self._per_joint(name)
        if self.home is not None and len(self.home) != self.dim:
            raise ConfigError(f"`home` has {len(self.home)} values; it must have {self.dim}, one per joint")
        self._check_simulation()

    @property
    def dim(self) -> int:
        """Number of joints A."""
        return len(self.joints)

    @cached_property
    def drivers(self) -> tuple[PartProfile, ...]:
        """Drivers of the joints: the parts, or the single driver of all."""
        if self.parts is not None:
            return tuple(self.parts.values())
        names, order = self.message_names, self.joint_order
        return (PartProfile(self.joints, self.joint_states, self.command, names, order, self.unit),)

    @cached_property
    def held(self) -> tuple[str, ...]:
        """Joints H of commands outside the policy's, driver by driver."""
        return tuple(joint for part in self.drivers for joint in part.held)

    @property
    def gripper_message_name(self) -> str | None:
        """Name of the gripper's joint in messages; None without a gripper."""
        if self.gripper is None:
            return None
        joint = self.gripper.joint
        return next(
            (part.message_name(joint) for part in self.drivers if joint in (part.message_names or {})), joint
        )

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
                raise ConfigError(f"`parts` replaces `{both[0]}`; give it for each part")
            owned = sorted(joint for part in self.parts.values() for joint in part.joints)
            if owned != sorted(self.joints):
                raise ConfigError(
                    f"`parts` have the joints {owned}; each of `joints` must belong to one of them"
                )
        for part in self.drivers:
            known = {
                *part.command_joints,
                *(part.joint_order or ()),
                *([self.gripper.joint] if self.gripper else []),
            }
            unknown = sorted(set(part.message_names or {}) - known)
            if unknown:
                raise ConfigError(
                    f"`message_names` has {', '.join(unknown)}, which are not joints of this robot"
                )
        types = {part.command.type for part in self.drivers}
        if self.gripper is not None and self.gripper.type == "joint" and types != {"joint_state"}:
            raise ConfigError(
                f"`gripper.type` is joint, but commands are {', '.join(sorted(types))}, which cannot hold one more "
                "joint; give the gripper its own topic or action"
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
        """Absolute path of the URDF.

        Raises:
            ConfigError: the file does not exist.
        """
        tried = [Path(self.folder) / self.urdf, _PACKAGE / self.urdf]
        for path in tried:
            if path.is_file():
                return path.resolve()
        raise ConfigError(
            f"profile {self.name}: `urdf` is {self.urdf}; neither {tried[0]} nor {tried[1]} exists"
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
    def continuous_names(self) -> frozenset[str]:
        """Names of all joints, also held ones, that turn without end."""
        joints = self.tracked_joints
        return frozenset(name for name, one in zip(joints.names, joints.continuous, strict=True) if one)

    @property
    def continuous(self) -> Mask:
        """Joints (A,) that turn without end."""
        return self.tracked_joints.continuous[: self.dim]

    def kinematics(self) -> Kinematics:
        """Kinematics of the arm, with the rest of the robot in its posture.

        Raises:
            ConfigError: the URDF lacks a joint or link that the profile names.
        """
        # Pinocchio is an optional dependency: a machine that only reads cameras works without it.
        from rlt_ros.robots.kinematics import Kinematics

        try:
            return Kinematics(self.urdf_path, self.joints, self.tip_frame, self.posture or {})
        except KinematicsError as error:
            raise ConfigError(f"profile {self.name}: {error}") from error

    def limits(self, arm: Kinematics | None = None) -> Limits:
        """Limits of the profile together with those of the URDF: the stricter of the two.

        Args:
            arm: its kinematics; None to load them.

        Raises:
            ConfigError: the margins leave a joint no range, or numbers of URDF or profile are implausible.
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
        """Greatest speeds (A,), rad/s; joints without a speed in the URDF need one in the profile."""
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
        """Limit as (A,), or None."""
        values = getattr(self.safety, name)
        if values is None:
            return None
        if len(values) not in (1, self.dim):
            raise ConfigError(
                f"`safety.{name}` has {len(values)} values; give one for all joints, or {self.dim}"
            )
        return np.broadcast_to(np.array(values), self.dim).copy()


def profile_names() -> list[str]:
    """Names of the shipped profiles."""
    return shipped("robots")


def load_profile(name_or_path: str | Path) -> RobotProfile:
    """Load a profile by its name in ``config/robots/``, or by the path of a file (``….yaml``).

    Raises:
        ConfigError: it does not exist or is invalid; the message names file, key and allowed values.
    """
    path = require_yaml_file("robots", "robot", name_or_path)
    mapping = extended(path)
    safety = mapping.get("safety")
    if isinstance(safety, dict):
        mapping = {**mapping, "safety": {key: _as_list(key, value) for key, value in safety.items()}}
    if "folder" in mapping:
        raise ConfigError(f"{path}: `folder` is set from the path; leave it out")
    profile = build(RobotProfile, {**mapping, "folder": str(path.resolve().parent)}, origin=str(path))
    if profile.name != path.stem:
        raise ConfigError(f"{path}: `name` is {profile.name}; it must be {path.stem}, the file's name")
    return profile


def _as_list(key: str, value: Any) -> Any:
    """Wrap one number for all joints in a list."""
    scalar = isinstance(value, int | float) and not isinstance(value, bool)
    return [value] if scalar and key != "deviation" else value
