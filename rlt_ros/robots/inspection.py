"""What `rlt-ros robot check` looks at: a profile against its URDF and against what this computer has."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from rlt_ros.rlt.parameters import ConfigError
from rlt_ros.robots.body import Body
from rlt_ros.robots.kinematics import SINGULAR, Kinematics
from rlt_ros.robots.plausible import implausible_limits, outside
from rlt_ros.robots.profile import RobotProfile, load_profile
from rlt_ros.robots.safety import Limits
from rlt_ros.robots.turns import TURN
from rlt_ros.robots.urdf_joints import KinematicsError


@dataclasses.dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        what: key of the profile, or subject.
        verdict: "ok", "warning" (works, but look at it) or "error" (will not work).
        text: what is there, or what is wrong and the remedy.
    """

    what: str
    verdict: str
    text: str


def inspect(name_or_path: str | Path) -> list[Finding]:
    """All findings about a profile, worst mistakes included; nothing is raised for them."""
    try:
        profile = load_profile(name_or_path)
    except ConfigError as error:
        return [Finding("profile", "error", str(error))]
    findings = [
        Finding("profile", "ok", f"{profile.name}: {profile.dim} joints at {profile.control_hz:g} Hz")
    ]
    try:
        body, arm = Body(profile.urdf_path, {}), profile.kinematics()
    except (ConfigError, KinematicsError) as error:
        return [*findings, Finding("urdf", "error", str(error))]
    findings.append(Finding("urdf", "ok", f"{len(body.joints)} joints, {len(body.links)} links"))
    findings += _frames(profile, body)
    problems = [Finding("limits", "error", text) for text in implausible_limits(arm)]
    if not problems:
        try:
            limits = profile.limits(arm)
            problems = [*_limits(profile, limits), *_home(profile, arm, limits)]
        except ConfigError as error:
            problems = [Finding("limits", "error", str(error))]
    problems += _turns(profile)
    return [*findings, *problems, *_posture(profile, body), *_drivers(profile, body), *_cameras(profile)]


def _frames(profile: RobotProfile, body: Body) -> Iterator[Finding]:
    if profile.base_frame == body.links[0]:
        yield Finding("base_frame", "ok", profile.base_frame)
    else:
        yield Finding(
            "base_frame", "error", f"it is {profile.base_frame}; the root of the URDF is {body.links[0]}"
        )


def _limits(profile: RobotProfile, limits: Limits) -> Iterator[Finding]:
    span = [
        f"{joint} {low:.3g} … {high:.3g} rad, {speed:.3g} rad/s"
        for joint, low, high, speed in zip(
            profile.joints, limits.lower, limits.upper, limits.velocity, strict=True
        )
    ]
    yield Finding("limits", "ok", "\n".join(span))
    slow = [
        joint
        for joint, lead, speed in zip(profile.joints, limits.lead, limits.velocity, strict=True)
        if lead < 2 * speed / profile.control_hz
    ]
    if slow:
        yield Finding(
            "safety.lead",
            "warning",
            f"{', '.join(slow)} cannot reach the velocity limit: it moves further than `lead` in two control periods",
        )
    if limits.workspace is None:
        yield Finding("safety.workspace", "warning", "none: the tip may go wherever the joints let it")


def _home(profile: RobotProfile, arm: Kinematics, limits: Limits) -> Iterator[Finding]:
    if profile.home is None:
        yield Finding("home", "warning", "none: episodes may begin wherever the arm stands")
        return
    tip = arm.forward(np.array(profile.home))[:3, 3]
    place = f"{profile.tip_frame} at {np.round(tip, 3).tolist()} m in {profile.base_frame}"
    box = limits.workspace
    if box is not None and not ((box[:3] <= tip) & (tip <= box[3:])).all():
        yield Finding(
            "home", "error", f"{place}, outside `safety.workspace` {box.tolist()}: the arm could not move"
        )
    else:
        yield Finding("home", "ok", place)
    if arm.dexterity(np.array(profile.home)) < SINGULAR:
        yield Finding(
            "home",
            "warning",
            "the arm is at a singularity there: in some direction the tip cannot move; bend elbow or wrist",
        )


def _turns(profile: RobotProfile) -> Iterator[Finding]:
    """Joints that turn without end, and those that might."""
    key = "continuous_joints"
    try:
        joints = profile.tracked_joints
    except ConfigError as error:
        yield Finding(key, "error", str(error))
        return
    named = [name for name, endless in zip(joints.names, joints.continuous, strict=True) if endless]
    if named:
        yield Finding(key, "ok", f"{', '.join(named)}: unwrapped when read, compared modulo a turn")
    if profile.continuous_joints is not None:
        return
    wide = [
        name
        for name, span in zip(joints.names, joints.upper - joints.lower, strict=True)
        if span > 1.5 * TURN and name not in named
    ]
    if wide:
        yield Finding(
            key,
            "warning",
            f"{', '.join(wide)} can turn more than once: name them if the driver reports them in (-π, π], else set it "
            "to []",
        )


def _posture(profile: RobotProfile, body: Body) -> Iterator[Finding]:
    posture: Mapping[str, float] = profile.posture or {}
    if not posture:
        return
    names = list(posture)
    try:
        rest = Kinematics(profile.urdf_path, names, body.links[0], {})
    except KinematicsError as error:
        yield Finding("posture", "error", str(error))
        return
    wrong = list(outside(names, np.array([posture[name] for name in names]), rest.lower, rest.upper))
    verdict = "error" if wrong else "ok"
    yield Finding("posture", verdict, "; ".join(wrong) or f"{len(names)} joints beside the arm")


def _drivers(profile: RobotProfile, body: Body) -> Iterator[Finding]:
    for part in profile.drivers:
        yield Finding(
            "command",
            "ok",
            f"{part.command.type} on {part.command.topic}: {', '.join(part.told(joint) for joint in part.carried)}",
        )
        unknown = [joint for joint in part.carried if joint not in body.joints]
        if unknown:
            yield Finding("command.order", "error", f"the URDF has no joint {', '.join(unknown)}")


def _cameras(profile: RobotProfile) -> Iterator[Finding]:
    told = [f"{name} on {camera.topic} ({camera.encoding})" for name, camera in profile.cameras.items()]
    yield Finding("cameras", "ok", ", ".join(told))
    for name, camera in profile.cameras.items():
        key, transport = f"cameras.{name}", camera.topic.rpartition("/")[2]
        if transport == "compressedDepth":
            yield Finding(key, "error", f"{camera.topic} is image_transport's for depth; name one of colours")
        elif transport == "compressed" and not camera.is_compressed:
            yield Finding(
                key,
                "warning",
                f"{camera.topic} is image_transport's name for JPEG and PNG; then set `encoding: compressed`",
            )
