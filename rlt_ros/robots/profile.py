"""Everything about one robot that is no code: joints, topics, cameras, frames and limits, from one YAML file.

The files are in ``config/robots/``. A profile is found by its name there, or by the path of a file of one's own. What
is in a file is checked when it is read; an error names file, key and what is allowed.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rlt_ros.rlt.parameters import ConfigError, build, check, parameter, read_yaml
from rlt_ros.robots.gripper import GripperProfile
from rlt_ros.robots.safety import Array, Limits
from rlt_ros.share import shipped, yaml_file

if TYPE_CHECKING:
    from rlt_ros.robots.kinematics import Kinematics

ENCODINGS = ("rgb8", "bgr8", "rgba8", "bgra8", "mono8")
"""Encodings of `sensor_msgs/Image` that can be made RGB; `rlt_ros.perception.pictures` reads them."""

_TOPIC = re.compile(r"^(~/|/)?[A-Za-z_]\w*(/[A-Za-z_]\w*)*$")
_PACKAGE = Path(__file__).resolve().parents[1]


@dataclasses.dataclass(frozen=True)
class CameraProfile:
    """One camera."""

    topic: str = parameter(
        dataclasses.MISSING, help="Topic of its `sensor_msgs/Image`, relative to the namespace of the robot."
    )
    encoding: str = parameter(
        "rgb8",
        help="Encoding that its driver is expected to send; pictures in another one are dropped and counted.",
        choices=ENCODINGS,
    )

    def __post_init__(self) -> None:
        check(self)
        _check_topic("topic", self.topic)


@dataclasses.dataclass(frozen=True)
class CommandProfile:
    """How the robot is commanded."""

    topic: str = parameter("joint_command", help="Topic of the commands, relative to the robot's namespace.")
    type: str = parameter(
        "joint_state",
        help="`joint_state`: absolute joint targets by name, as one `sensor_msgs/JointState` a control step.",
        choices=("joint_state",),
    )

    def __post_init__(self) -> None:
        check(self)
        _check_topic("topic", self.topic)


@dataclasses.dataclass(frozen=True)
class SafetyProfile:
    """Limits of the arm beside those of its URDF: one number for all joints, or one for each."""

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
        help="Box in `base_frame` that commands never move `tip_frame` out of: least x, y, z, then greatest x, y, z. "
        "Left out, none.",
        unit="m",
    )
    deviation: float | None = parameter(
        None,
        help="Greatest distance of an action from the VLA's own, for every joint; left out, none.",
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
    folder: str = parameter("", help="Folder of the profile's file; set when it is read.")

    def __post_init__(self) -> None:
        check(self)
        _check_topic("joint_states", self.joint_states)
        if not self.joints or len(set(self.joints)) != len(self.joints):
            raise ConfigError(f"`joints` is {list(self.joints)}; name each joint of the arm once")
        if not self.cameras:
            raise ConfigError("`cameras` is empty; a VLA needs one camera at least")
        topics = [camera.topic for camera in self.cameras.values()]
        if len(set(topics)) != len(topics):
            raise ConfigError(f"`cameras` has the topics {topics}; each camera has one of its own")
        both = sorted(set(self.joints) & set(self.posture or {}))
        if both:
            raise ConfigError(f"`posture` names {both}, which belong to `joints`; leave them out")
        if self.gripper is not None and self.gripper.joint in self.joints:
            raise ConfigError(
                f"`gripper.joint` is {self.gripper.joint}, which belongs to `joints`; what the policy moves is not the "
                "human's alone"
            )
        for name in ("position_margin", "velocity", "acceleration", "lead", "step"):
            self._per_joint(name)
        if self.home is not None and len(self.home) != self.dim:
            raise ConfigError(
                f"`home` has {len(self.home)} values; it must have {self.dim}, one for each joint"
            )

    @property
    def dim(self) -> int:
        """Number of joints A."""
        return len(self.joints)

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

    def kinematics(self) -> Kinematics:
        """Kinematics of the arm, the rest of the robot in its posture.

        Raises:
            ConfigError: the URDF lacks a joint or link that the profile names.
        """
        # Pinocchio is an optional dependency: a machine that only looks at cameras does without.
        from rlt_ros.robots.kinematics import Kinematics, KinematicsError

        try:
            return Kinematics(self.urdf_path, self.joints, self.tip_frame, self.posture or {})
        except KinematicsError as error:
            raise ConfigError(f"profile {self.name}: {error}") from error

    def limits(self, arm: Kinematics | None = None) -> Limits:
        """Limits of the profile together with those of the URDF: the stricter of the two.

        Args:
            arm: its kinematics, if they are at hand.

        Raises:
            ConfigError: the margins leave a joint no range.
        """
        arm = arm or self.kinematics()
        margin, velocity = self._required("position_margin"), self._per_joint("velocity")
        box = self.safety.workspace
        try:
            return Limits(
                lower=arm.lower + margin,
                upper=arm.upper - margin,
                velocity=arm.velocity_limit if velocity is None else np.minimum(velocity, arm.velocity_limit),
                lead=self._required("lead"),
                acceleration=self._per_joint("acceleration"),
                step=self._per_joint("step"),
                workspace=None if box is None else np.array(box),
                deviation=self.safety.deviation,
            )
        except ValueError as error:
            raise ConfigError(f"profile {self.name}: {error}; check `safety` against the URDF") from error

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
    path = yaml_file("robots", name_or_path)
    if path is None:
        raise ConfigError(
            f"robot `{name_or_path}` is unknown; there are {', '.join(profile_names())}, or give the path of a YAML "
            "file"
        )
    mapping = read_yaml(path)
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


def _check_topic(name: str, topic: str) -> None:
    if not _TOPIC.match(topic):
        raise ConfigError(
            f"`{name}` is {topic!r}; it must be a topic's name, like camera/color or /joint_states"
        )
