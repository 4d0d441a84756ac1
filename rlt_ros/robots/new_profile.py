"""Commented draft of a profile for a robot with a URDF."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pinocchio as pin
from numpy.typing import NDArray

from rlt_ros.robots.kinematics import MIN_DEXTERITY, Kinematics
from rlt_ros.robots.urdf_joints import JointLimits, read_joints
from rlt_ros.robots.urdf_model import find_link, link_name, read_urdf
from rlt_ros.store.parameters import ConfigError

_TEXT = """\
# {name}: generated from {urdf_name}. Check every line marked with (!), then: rlt-ros robot check {file}
# docs/reference/robots.md explains each key.
name: {name}
base_frame: {base}
tip_frame: {tip}  # (!) link that a human moves, usually the tool centre
urdf: {urdf}
# Joints that the policy moves, in the order of your VLA's actions (!)
joints:
{joints}
# (!) Joints that turn without end and that the driver reports in (-π, π]; [] if it counts turns
continuous_joints: {continuous}
control_hz: 50  # (!) rate of commands; your VLA's own rate
joint_states: joint_states
command:
  # (!) joint_state, joint_trajectory (JointTrajectoryController), forward (ForwardCommandController) or interbotix
  type: joint_trajectory
  topic: joint_trajectory_controller/joint_trajectory
# (!) Names as your VLA knows its cameras; the first one sets the pace. Encodings of sensor_msgs/Image, or, for
# JPEG and PNG as sensor_msgs/CompressedImage: {{topic: camera/color/image_raw/compressed, encoding: compressed}}
cameras:
  head: {{topic: camera/color/image_raw, encoding: rgb8}}
safety:
  position_margin: 0.05  # rad from the URDF's limits
  velocity: {velocity}  # (!) rad/s; half of the URDF's
  lead: 0.12  # rad between command and measured position; bounds the force on contact
  # (!) Box that the tip never leaves, m in {base}: least x, y, z, greatest x, y, z. Here: 0.3 m round `home`.
  workspace: {workspace}
# (!) Start of an episode. Here: a posture near the middle of each joint's range, away from singularities.
home: {home}
"""


# rad, greatest distance of a proposed home from the middle of a joint's range.
_MAX_BEND = 1.2
# Random postures; enough for 0.09 m/rad with arms of 5 to 7 joints.
_CANDIDATES = 300
_GRIPPER_WORDS = ("gripper", "finger", "knuckle", "jaw")
# m of travel; linear axes of arms are longer.
_MAX_FINGER_TRAVEL = 0.15


def new_profile(name: str, urdf: Path, file: Path, *, tip: str | None, joints: Sequence[str] | None) -> str:
    """Text of a profile.

    Args:
        name: of the profile, that of its file.
        urdf: the robot's URDF.
        file: path of the profile; a URDF in its folder is given by name.
        tip: link that a human moves; None takes the only link at the end of a chain.
        joints: of the arm; None takes all moving joints from the root to the tip.

    Raises:
        ConfigError: the URDF leaves a choice to the user; the message lists the options.
        KinematicsError: the URDF cannot be read, or lacks the tip or a joint.
    """
    model = read_urdf(urdf)
    links = [frame for frame in model.frames if frame.type == pin.FrameType.BODY]
    tip = tip or _single_end_link(model)
    if joints is None:
        joints = [
            model.names[joint] for joint in model.supports[model.frames[find_link(model, tip)].parentJoint]
        ][1:]
    if not joints:
        raise ConfigError(f"{urdf}: no joint moves {tip}; name another link with --tip")
    arm = Kinematics(urdf, joints, tip, {})
    home = _home(arm)
    at = arm.forward(home)[:3, 3]
    kinds = read_joints(urdf)
    continuous = ", ".join(joint for joint in joints if kinds[joint].kind == "continuous")
    velocity = [max(round(float(speed) / 2, 3), 0.1) for speed in arm.velocity_limit]
    return _TEXT.format(
        name=name,
        file=file.name,
        urdf_name=urdf.name,
        urdf=urdf.name if urdf.resolve().parent == file.resolve().parent else urdf.resolve(),
        base=link_name(links[0].name),
        tip=tip,
        joints="\n".join(f"  - {joint}{_gripper_comment(kinds[joint], joint)}" for joint in joints),
        continuous=f"[{continuous}]",
        velocity=velocity,
        workspace=[round(float(value), 3) for value in (*(at - 0.3), *(at + 0.3))],
        home=[round(float(value), 4) for value in home],
    )


def _home(arm: Kinematics) -> NDArray[np.float64]:
    """Posture (A,) near the middle of each joint's range in which the tip can move in all directions."""
    middle = np.clip(0.0, arm.lower, arm.upper)
    bounded = np.abs(arm.upper - arm.lower) < 6 * np.pi
    middle[bounded] = (arm.lower + arm.upper)[bounded] / 2
    reach = np.minimum(np.where(bounded, (arm.upper - arm.lower) / 4, np.inf), _MAX_BEND)
    bends = np.random.default_rng(0).uniform(-1.0, 1.0, (_CANDIDATES, len(middle)))
    candidates = [middle, *(middle + reach * bends)]
    # The middle itself if its dexterity suffices, because it is easy to recognise.
    return max(candidates, key=lambda q: min(arm.dexterity(q), 3 * MIN_DEXTERITY))


def _gripper_comment(limits: JointLimits, joint: str) -> str:
    """Comment for a joint that looks like a gripper's; empty for any other."""
    by_name = any(word in joint.lower() for word in _GRIPPER_WORDS)
    short = limits.kind == "prismatic" and limits.upper - limits.lower < _MAX_FINGER_TRAVEL
    if not (by_name or short):
        return ""
    return "  # (!) looks like a gripper: remove it, choose a --tip before it, and fill in `gripper`"


def _single_end_link(model: pin.Model) -> str:
    """Link at the end of a robot with a single chain."""
    ends = [joint for joint in range(1, model.njoints) if not list(model.children[joint])]
    bodies = [frame for frame in model.frames if frame.type == pin.FrameType.BODY]
    candidates = [link_name(frame.name) for frame in bodies if frame.parentJoint in ends]
    last = {frame.parentFrame for frame in model.frames}
    leaves = [
        link_name(frame.name)
        for frame in bodies
        if frame.parentJoint in ends and model.getFrameId(frame.name, pin.FrameType.BODY) not in last
    ]
    if len(leaves) == 1:
        return leaves[0]
    raise ConfigError(
        f"the URDF ends in several links; name the tip with --tip, e.g. one of {', '.join(candidates)}"
    )
