"""Checks of a robot profile against its URDF, for `rlt-ros robot check`."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from rlt_ros.robots.body import Body
from rlt_ros.robots.kinematics import MIN_DEXTERITY, Kinematics
from rlt_ros.robots.plausible import implausible_limits, outside
from rlt_ros.robots.profile import RobotProfile, load_profile
from rlt_ros.robots.safety import Limits
from rlt_ros.robots.turns import TURN
from rlt_ros.robots.urdf_joints import KinematicsError
from rlt_ros.store.parameters import ConfigError


@dataclasses.dataclass(frozen=True)
class ProfileCheck:
    """Result of one check.

    Attributes:
        what: key of the profile, or subject.
        verdict: "ok", "warning" (usable, but questionable) or "error" (unusable).
        text: value, or fault and remedy.
    """

    what: str
    verdict: str
    text: str


def inspect(name_or_path: str | Path) -> list[ProfileCheck]:
    """Check a profile; errors are results as well, nothing is raised."""
    try:
        profile = load_profile(name_or_path)
    except ConfigError as error:
        return [ProfileCheck("profile", "error", str(error))]
    findings = [
        ProfileCheck("profile", "ok", f"{profile.name}: {profile.dim} joints at {profile.control_hz:g} Hz")
    ]
    try:
        body, arm = Body(profile.urdf_path, {}), profile.kinematics()
    except (ConfigError, KinematicsError) as error:
        return [*findings, ProfileCheck("urdf", "error", str(error))]
    findings.append(ProfileCheck("urdf", "ok", f"{len(body.joints)} joints, {len(body.links)} links"))
    findings += _frames(profile, body)
    problems = [ProfileCheck("limits", "error", text) for text in implausible_limits(arm)]
    if not problems:
        try:
            limits = profile.limits(arm)
            problems = [*_limits(profile, limits), *_home(profile, arm, limits)]
        except ConfigError as error:
            problems = [ProfileCheck("limits", "error", str(error))]
    problems += _turns(profile)
    return [*findings, *problems, *_posture(profile, body), *_drivers(profile, body), *_cameras(profile)]


def _frames(profile: RobotProfile, body: Body) -> Iterator[ProfileCheck]:
    if profile.base_frame == body.links[0]:
        yield ProfileCheck("base_frame", "ok", profile.base_frame)
    else:
        yield ProfileCheck(
            "base_frame", "error", f"{profile.base_frame} is not the root of the URDF, {body.links[0]}"
        )


def _limits(profile: RobotProfile, limits: Limits) -> Iterator[ProfileCheck]:
    span = [
        f"{joint} {low:.3g} … {high:.3g} rad, {speed:.3g} rad/s"
        for joint, low, high, speed in zip(
            profile.joints, limits.lower, limits.upper, limits.velocity, strict=True
        )
    ]
    yield ProfileCheck("limits", "ok", "\n".join(span))
    slow = [
        joint
        for joint, lead, speed in zip(profile.joints, limits.lead, limits.velocity, strict=True)
        if lead < 2 * speed / profile.control_hz
    ]
    if slow:
        yield ProfileCheck(
            "safety.lead",
            "warning",
            f"{', '.join(slow)} cannot reach the velocity limit, which exceeds `lead` in two control periods",
        )
    if limits.workspace is None:
        yield ProfileCheck("safety.workspace", "warning", "none: only the joint limits bound the tip")


def _home(profile: RobotProfile, arm: Kinematics, limits: Limits) -> Iterator[ProfileCheck]:
    if profile.home is None:
        yield ProfileCheck("home", "warning", "none: episodes may begin at any position of the arm")
        return
    tip = arm.forward(np.array(profile.home))[:3, 3]
    place = f"{profile.tip_frame} at {np.round(tip, 3).tolist()} m in {profile.base_frame}"
    box = limits.workspace
    if box is not None and not ((box[:3] <= tip) & (tip <= box[3:])).all():
        yield ProfileCheck(
            "home", "error", f"{place}, outside `safety.workspace` {box.tolist()}: the arm could not move"
        )
    else:
        yield ProfileCheck("home", "ok", place)
    if arm.dexterity(np.array(profile.home)) < MIN_DEXTERITY:
        yield ProfileCheck(
            "home",
            "warning",
            "the arm is at a singularity there: the tip cannot move in some direction; bend elbow or wrist",
        )


def _turns(profile: RobotProfile) -> Iterator[ProfileCheck]:
    """Check joints that turn without end, and others that can turn more than once."""
    key = "continuous_joints"
    try:
        joints = profile.tracked_joints
    except ConfigError as error:
        yield ProfileCheck(key, "error", str(error))
        return
    named = [name for name, endless in zip(joints.names, joints.continuous, strict=True) if endless]
    if named:
        yield ProfileCheck(key, "ok", f"{', '.join(named)}: unwrapped when read, compared modulo a turn")
    if profile.continuous_joints is not None:
        return
    wide = [
        name
        for name, span in zip(joints.names, joints.upper - joints.lower, strict=True)
        if span > 1.5 * TURN and name not in named
    ]
    if wide:
        yield ProfileCheck(
            key,
            "warning",
            f"{', '.join(wide)} can turn more than once: name them if the driver reports them in (-π, π], else set it "
            "to []",
        )


def _posture(profile: RobotProfile, body: Body) -> Iterator[ProfileCheck]:
    posture: Mapping[str, float] = profile.posture or {}
    if not posture:
        return
    names = list(posture)
    try:
        rest = Kinematics(profile.urdf_path, names, body.links[0], {})
    except KinematicsError as error:
        yield ProfileCheck("posture", "error", str(error))
        return
    wrong = list(outside(names, np.array([posture[name] for name in names]), rest.lower, rest.upper))
    verdict = "error" if wrong else "ok"
    yield ProfileCheck("posture", verdict, "; ".join(wrong) or f"{len(names)} joints outside the arm")


def _drivers(profile: RobotProfile, body: Body) -> Iterator[ProfileCheck]:
    for part in profile.drivers:
        names = ", ".join(part.message_name(joint) for joint in part.command_joints)
        yield ProfileCheck("command", "ok", f"{part.command.type} on {part.command.topic}: {names}")
        unknown = [joint for joint in part.command_joints if joint not in body.joints]
        if unknown:
            yield ProfileCheck("command.order", "error", f"the URDF has no joint {', '.join(unknown)}")


def _cameras(profile: RobotProfile) -> Iterator[ProfileCheck]:
    texts = [f"{name} on {camera.topic} ({camera.encoding})" for name, camera in profile.cameras.items()]
    yield ProfileCheck("cameras", "ok", ", ".join(texts))
    for name, camera in profile.cameras.items():
        key, transport = f"cameras.{name}", camera.topic.rpartition("/")[2]
        if transport == "compressedDepth":
            yield ProfileCheck(
                key, "error", f"{camera.topic} is a depth topic of image_transport; name a colour topic"
            )
        elif transport == "compressed" and not camera.is_compressed:
            yield ProfileCheck(
                key,
                "warning",
                f"{camera.topic} is image_transport's name for JPEG and PNG; then set `encoding: compressed`",
            )
