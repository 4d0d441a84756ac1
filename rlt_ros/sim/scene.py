"""The simulated workcell as one MuJoCo model: the AgiBot G1, a bench with a task's fixture, cameras and light."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import mujoco
import numpy as np
from numpy.typing import NDArray

from rlt_ros.robots.kinematics import Kinematics
from rlt_ros.sim import solids
from rlt_ros.sim.tasks import Task

Array = NDArray[np.float64]

URDF = Path(__file__).parents[1] / "robots" / "urdf" / "agibot_g1.urdf"
CAMERAS = ("head", "hand_left", "hand_right")
ARM = tuple(f"idx6{i}_arm_r_joint{i}" for i in range(1, 8))
TOOL_LINK = "gripper_r_center_link"
# The right gripper is commanded by its outer finger; the URDF has the inner one mirror it. Nothing touches the fingers:
# the tool is fixed to the hand, and stays in it when they open.
GRIPPER, GRIPPER_MIRROR = "idx81_gripper_r_outer_joint1", "idx71_gripper_r_inner_joint1"

# Default posture of Genie Sim's G1 (lift m; waist, head rad) with the left hand raised so that its camera sees the
# fixture from the side, and both grippers nearly closed.
POSTURE = {
    "idx01_body_joint1": 0.42,
    "idx02_body_joint2": 0.8727,
    "idx12_head_joint2": 0.4363,
    **dict(
        zip(
            [f"idx2{i}_arm_l_joint{i}" for i in range(1, 8)],
            [0.8786, -1.6915, -1.8028, -1.0331, -1.2931, -1.5189, 0.153],
            strict=True,
        )
    ),
    "idx41_gripper_l_outer_joint1": 0.3,
    "idx31_gripper_l_inner_joint1": -0.3,
    "idx81_gripper_r_outer_joint1": 0.3,
    "idx71_gripper_r_inner_joint1": -0.3,
}
# Arm posture (rad) with the tool centre at a mated fixture: over the whole range of fixture and start poses all joints
# stay at least 0.2 rad from their limits, and the smallest singular value of the Jacobian above 0.06.
ARM_AT_FIXTURE = np.array([1.499, -0.878, -0.837, 1.03, -1.134, -1.179, 0.0])

TIMESTEP = 0.002  # s; contact with 0.6 mm of play is stable at 2 ms with 4 ms contact time constants

# Position servos, by joint effort class of the URDF: stiffness N·m/rad, damping N·m·s/rad, Coulomb friction N·m.
# Tip stiffness comes out near 1.5 kN/m and static error near 0.3 mrad, in the range of geared collaborative arms.
_SERVO = {60.0: (1500.0, 60.0, 0.4), 30.0: (500.0, 14.0, 0.12)}
_HOLD = (8000.0, 800.0, 0.0)  # lift, waist, head, grippers and the other arm stand still
_ARMATURE = 0.05  # kg·m², reflected rotor inertia


@dataclass(frozen=True)
class Nominal:
    """Poses (4, 4) in the base frame around which an episode is drawn: the tool centre's when mated and the face's."""

    tool: Array
    face: Array


def kinematics() -> Kinematics:
    """Kinematics of the right arm with the rest of the robot in its posture."""
    return Kinematics(URDF, ARM, TOOL_LINK, POSTURE)


def nominal(arm: Kinematics, task: Task) -> Nominal:
    """Where fixture and tool are when nothing is randomised and the tool is mated."""
    tool = arm.forward(ARM_AT_FIXTURE)
    return Nominal(tool, tool @ mate_in_tool(task))


def mate_in_tool(task: Task) -> Array:
    """Pose (4, 4) of the mate frame in the tool frame, z against the tool's z so that mated frames are equal."""
    frame = np.diag([1.0, -1.0, -1.0, 1.0])
    frame[2, 3] = task.mate_height
    return frame


def build(task: Task) -> mujoco.MjModel:
    """Model of the workcell for `task`. The fixture is a mocap body named `fixture`."""
    spec = mujoco.MjSpec.from_file(str(URDF))
    spec.option.timestep = TIMESTEP
    spec.option.integrator = mujoco.mjtIntegrator.mjINT_IMPLICITFAST
    spec.option.cone = mujoco.mjtCone.mjCONE_ELLIPTIC
    spec.option.impratio = 3.0
    spec.visual.quality.offsamples = 0
    spec.visual.quality.shadowsize = 0
    spec.visual.map.znear = 0.005
    spec.visual.global_.offwidth = spec.visual.global_.offheight = 640
    _servos(spec)
    _cameras(spec)
    _bench(spec)
    task.add_tool(spec.body(TOOL_LINK))
    fixture = spec.worldbody.add_body(name="fixture", mocap=True)
    _stand(fixture)
    task.add_fixture(fixture)
    return spec.compile()


def _stand(fixture: mujoco.MjsBody) -> None:
    """The block that carries a fixture; for show only."""
    solids.box(fixture, (-0.060, -0.050, -0.060), (0.060, 0.050, -0.022), (0.45, 0.46, 0.48, 1), 0, "stand")


def _servos(spec: mujoco.MjSpec) -> None:
    for body in spec.bodies:
        body.gravcomp = 1.0  # the robot's own controller compensates gravity
    for geom in list(spec.geoms):
        # The URDF names every shape twice, as visual and as collision; contact is between tool and fixture alone.
        if geom.contype:
            spec.delete(geom)
    for equality in list(spec.equalities):
        spec.delete(equality)
    for joint in spec.joints:
        effort = float(joint.actfrcrange[1])
        stiffness, damping, friction = _SERVO[effort] if joint.name in ARM else _HOLD
        joint.armature, joint.frictionloss = _ARMATURE, friction
        spec.add_actuator(
            name=joint.name,
            target=joint.name,
            trntype=mujoco.mjtTrn.mjTRN_JOINT,
            gaintype=mujoco.mjtGain.mjGAIN_FIXED,
            biastype=mujoco.mjtBias.mjBIAS_AFFINE,
            gainprm=[stiffness, *[0.0] * 9],
            biasprm=[0.0, -stiffness, -damping, *[0.0] * 7],
        )


def _cameras(spec: mujoco.MjSpec) -> None:
    # Head camera: in the head's front, optical axis along the head's x axis.
    head = spec.body("head_link2")
    head.add_camera(
        name="head", pos=[0.06, -0.04, 0.0], xyaxes=_axes([1.0, 0.0, 0.0], [0.0, -1.0, 0.0]), fovy=32.0
    )
    # Hand cameras, beside each gripper: the right one looks at the tip of its tool, the left one across at the fixture.
    position = np.array([0.072, 0.0, 0.030])
    for name, link, aim, fovy in (
        ("hand_left", "gripper_l_base_link", [0.072, -0.013, 0.237], 26.0),
        ("hand_right", "gripper_r_base_link", [0.0, 0.0, 0.195], 32.0),
    ):
        axes = _axes((np.array(aim) - position).tolist(), [1.0, 0.0, 0.0])
        spec.body(link).add_camera(name=name, pos=position.tolist(), xyaxes=axes, fovy=fovy)


def _axes(forward: list[float], up: list[float]) -> list[float]:
    """MuJoCo camera axes (x right, y up) for a camera that looks along `forward`."""
    z = -np.array(forward) / np.linalg.norm(forward)
    x = np.cross(up, z)
    x /= np.linalg.norm(x)
    return [*x, *np.cross(z, x)]


def _bench(spec: mujoco.MjSpec) -> None:
    world = spec.worldbody
    world.add_light(
        name="sun", pos=[0.2, -0.6, 2.4], dir=[0.2, 0.3, -1.0], diffuse=[0.6] * 3, castshadow=False
    )
    world.add_light(
        name="lamp", pos=[1.4, 0.5, 1.8], dir=[-0.6, -0.5, -0.9], diffuse=[0.3] * 3, castshadow=False
    )
    for name, size, position, rgba in (
        ("bench", [0.35, 0.6, 0.02], [0.80, 0.0, 0.68], [0.55, 0.42, 0.30, 1]),
        ("floor", [4.0, 4.0, 0.01], [0.0, 0.0, -0.01], [0.30, 0.32, 0.34, 1]),
    ):
        geom = world.add_geom(name=name, type=mujoco.mjtGeom.mjGEOM_BOX, size=size, pos=position, rgba=rgba)
        geom.contype = geom.conaffinity = 0
