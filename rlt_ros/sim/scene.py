"""MuJoCo model of the workcell: a robot, a bench with a task's fixture, cameras and light."""

from __future__ import annotations

from dataclasses import dataclass

import mujoco
import numpy as np
from numpy.typing import NDArray

from rlt_ros.robots.kinematics import Kinematics
from rlt_ros.sim import solids
from rlt_ros.sim.station import Station
from rlt_ros.sim.tasks import Task
from rlt_ros.sim.urdf_source import load_spec

Array = NDArray[np.float64]

# s; contact with 0.6 mm of play is stable at 2 ms with 4 ms contact time constants.
TIMESTEP = 0.002

# Position servos of the arm, for joints of at least that effort in the URDF, N·m: stiffness N·m/rad, damping N·m·s/rad,
# Coulomb friction N·m. Tip stiffness is near 1.5 kN/m and static error near 0.3 mrad, in the range of geared
# collaborative arms.
_SERVOS = ((35.0, (1500.0, 60.0, 0.4)), (0.0, (500.0, 14.0, 0.12)))
# Lift, waist, head, grippers and other arms are still.
_HOLD = (8000.0, 800.0, 0.0)
# kg·m², reflected rotor inertia.
_ARMATURE = 0.05


@dataclass(frozen=True)
class NominalPoses:
    """Poses (4, 4) in the base frame, before randomisation: mated tool centre and face."""

    tool: Array
    face: Array


def nominal_poses(arm: Kinematics, robot: Station, task: Task) -> NominalPoses:
    """Poses of fixture and mated tool before randomisation."""
    tool = arm.forward(robot.at_fixture)
    return NominalPoses(tool, tool @ mate_in_tool(task))


def mate_in_tool(task: Task) -> Array:
    """Pose (4, 4) of the mate frame in the tool frame; z opposes the tool's z, so that mated frames are equal."""
    frame = np.diag([1.0, -1.0, -1.0, 1.0])
    frame[2, 3] = task.mate_height
    return frame


def build(task: Task, robot: Station) -> mujoco.MjModel:
    """Build the model of the workcell for `task`. The fixture is a mocap body named `fixture`."""
    spec = load_spec(robot.urdf)
    spec.option.timestep = TIMESTEP
    spec.option.integrator = mujoco.mjtIntegrator.mjINT_IMPLICITFAST
    spec.option.cone = mujoco.mjtCone.mjCONE_ELLIPTIC
    spec.option.impratio = 3.0
    spec.visual.quality.offsamples = 0
    spec.visual.quality.shadowsize = 0
    spec.visual.map.znear = 0.005
    spec.visual.global_.offwidth = spec.visual.global_.offheight = 640
    _servos(spec, robot)
    _cameras(spec, robot)
    _bench(spec, robot)
    task.add_tool(spec.body(robot.tool_link))
    fixture = spec.worldbody.add_body(name="fixture", mocap=True)
    _stand(fixture)
    task.add_fixture(fixture)
    return spec.compile()


def _stand(fixture: mujoco.MjsBody) -> None:
    """Add the block under a fixture, without contact."""
    solids.box(fixture, (-0.060, -0.050, -0.060), (0.060, 0.050, -0.022), (0.45, 0.46, 0.48, 1), 0, "stand")


def _servos(spec: mujoco.MjSpec, robot: Station) -> None:
    for body in spec.bodies:
        # The robot's own controller compensates gravity.
        body.gravcomp = 1.0
    for geom in list(spec.geoms):
        # The URDF lists every shape as visual and as collision; only tool and fixture make contact.
        if geom.contype:
            spec.delete(geom)
    for equality in list(spec.equalities):
        spec.delete(equality)
    for joint in spec.joints:
        effort = float(joint.actfrcrange[1])
        servo = next(values for least, values in _SERVOS if effort >= least)
        stiffness, damping, friction = servo if joint.name in robot.arm else _HOLD
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


def _cameras(spec: mujoco.MjSpec, robot: Station) -> None:
    for name, camera in robot.cameras.items():
        position, aim = np.array(camera.position), np.array(camera.aim)
        # Links fixed to the root of a URDF belong to MuJoCo's world if the root has no mass.
        link = spec.body(camera.link) or spec.worldbody
        axes = _axes((aim - position).tolist(), list(camera.up))
        link.add_camera(name=name, pos=position.tolist(), xyaxes=axes, fovy=camera.fovy)


def _axes(forward: list[float], up: list[float]) -> list[float]:
    """MuJoCo camera axes (x right, y up) for the view direction `forward`."""
    z = -np.array(forward) / np.linalg.norm(forward)
    x = np.cross(up, z)
    x /= np.linalg.norm(x)
    return [*x, *np.cross(z, x)]


def _bench(spec: mujoco.MjSpec, robot: Station) -> None:
    world = spec.worldbody
    world.add_light(
        name="sun", pos=[0.2, -0.6, 2.4], dir=[0.2, 0.3, -1.0], diffuse=[0.6] * 3, castshadow=False
    )
    world.add_light(
        name="lamp", pos=[1.4, 0.5, 1.8], dir=[-0.6, -0.5, -0.9], diffuse=[0.3] * 3, castshadow=False
    )
    for name, size, position, rgba in (
        ("bench", [0.35, 0.6, 0.02], list(robot.bench), [0.55, 0.42, 0.30, 1]),
        ("floor", [4.0, 4.0, 0.01], [0.0, 0.0, -0.01], [0.30, 0.32, 0.34, 1]),
    ):
        geom = world.add_geom(name=name, type=mujoco.mjtGeom.mjGEOM_BOX, size=size, pos=position, rgba=rgba)
        geom.contype = geom.conaffinity = 0
