"""Simulated workcell of one task: reset, observe, step. Deterministic for a seed.

The tool's pose relative to the fixture (`relative`) is privileged. The scripted demonstrator, the reward and the
hand-over rule use it; policies do not.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import mujoco
import numpy as np
from numpy.typing import NDArray

from rlt_ros.perception import Observation
from rlt_ros.robots.kinematics import Kinematics, KinematicsError, pose_error, rotation
from rlt_ros.sim import scene
from rlt_ros.sim.rendering import CameraRig
from rlt_ros.sim.station import HZ, Station, agibot_g1
from rlt_ros.sim.tasks import Task

Array = NDArray[np.float64]

_SUBSTEPS = round(1.0 / (HZ * scene.TIMESTEP))
# rad, resolution of a 16-bit encoder behind a gear.
_POSITION_NOISE = 1e-4
# rad/s, of a differentiated encoder.
_VELOCITY_NOISE = 5e-3
# m between the tool's tip and the nominal face at the start of an episode.
_START_HEIGHT = 0.075
# m, the same for a start at the critical phase.
_CRITICAL_HEIGHT = 0.022
# After a failed attempt: m, the same; m, largest sideways distance from the socket; rad, largest turn against it.
_ASTRAY_HEIGHT = (0.002, 0.014)
_ASTRAY_SHIFT = 0.025
_ASTRAY_TURN = np.deg2rad(10.0)
_COLOUR_JITTER = 0.12
_LIGHT_JITTER = 0.35


class Start(Enum):
    """Start of an episode.

    APPROACH: nominal pose, independent of the socket's.
    CRITICAL: start of the critical phase, above the socket.
    ASTRAY: end of a failed attempt, close to the face, sideways and turned.
    """

    APPROACH = "approach"
    CRITICAL = "critical"
    ASTRAY = "astray"


@dataclass(frozen=True)
class Conditions:
    """Random conditions of one episode: fixture pose and start pose of the tool in the base frame."""

    face: Array
    start: Array


class Workcell:
    """Simulated robot with a task's tool in its hand, under 50 Hz joint-position control.

    Args:
        task: the precision task.
        robot: robot at its bench; None for the AgiBot G1 and its right arm.
        image_size: side of the square camera images, pixels.
    """

    def __init__(self, task: Task, robot: Station | None = None, *, image_size: int = 64) -> None:
        self.task, self.robot = task, robot or agibot_g1()
        self.kinematics: Kinematics = self.robot.kinematics()
        self._nominal = scene.nominal_poses(self.kinematics, self.robot, task)
        self._mate_in_tool = scene.mate_in_tool(task)
        self._model = scene.build(task, self.robot)
        self._data = mujoco.MjData(self._model)
        self._rig = CameraRig(self._model, tuple(self.robot.cameras), image_size)
        self._colours = self._model.geom_rgba.copy()
        self._lights = self._model.light_diffuse.copy()
        joints = [self._model.joint(name) for name in self.robot.arm]
        self._qpos = np.array([joint.qposadr[0] for joint in joints])
        self._qvel = np.array([joint.dofadr[0] for joint in joints])
        self._ctrl = np.array([self._model.actuator(name).id for name in self.robot.arm])
        self._tool = self._model.body(self.robot.tool_link).id
        self.joint_names = tuple(self._model.joint(i).name for i in range(self._model.njnt))
        self._rng = np.random.default_rng(0)
        self._step = 0
        self._mated_steps = 0
        self.conditions = self.reset(0)

    def reset(self, seed: int, start_at: Start = Start.APPROACH) -> Conditions:
        """Sample an episode's conditions from `seed` and put the robot at rest at its start pose."""
        self._rng = np.random.default_rng([seed, 0x5EED])
        conditions, start = self._sample_reachable(start_at)
        mujoco.mj_resetData(self._model, self._data)
        for name, value in {**self.robot.posture, **dict(zip(self.robot.arm, start, strict=True))}.items():
            self._data.joint(name).qpos = value
            self._data.actuator(name).ctrl = value
        self._data.mocap_pos[0] = conditions.face[:3, 3]
        mujoco.mju_mat2Quat(self._data.mocap_quat[0], conditions.face[:3, :3].ravel())
        self._paint()
        mujoco.mj_forward(self._model, self._data)
        self._step = self._mated_steps = 0
        self.conditions = conditions
        return conditions

    def observe(self, *, images: bool = True) -> Observation:
        """Current sensor readings; without `images` only the joint state."""
        noise = self._rng.normal(size=(2, len(self.robot.arm)))
        return Observation(
            stamp=round(self._step / HZ * 1e9),
            images=self._rig.render(self._data) if images else {},
            position=self.position + _POSITION_NOISE * noise[0],
            velocity=self._data.qvel[self._qvel] + _VELOCITY_NOISE * noise[1],
        )

    def step(self, command: Array) -> bool:
        """Move towards the joint target `command` (A,) rad for one control period; True once the tool is mated.

        Raises:
            ValueError: the command has a wrong shape or is not finite.
        """
        if command.shape != (len(self.robot.arm),) or not np.isfinite(command).all():
            raise ValueError(
                f"command must be {len(self.robot.arm)} finite joint targets in rad, got {command}"
            )
        self._data.ctrl[self._ctrl] = np.clip(command, self.kinematics.lower, self.kinematics.upper)
        mujoco.mj_step(self._model, self._data, _SUBSTEPS)
        self._step += 1
        self._mated_steps = self._mated_steps + 1 if self.task.mated(self.relative) else 0
        return self._mated_steps >= self.task.hold_steps

    def grip(self, angle: float) -> None:
        """Move the gripper's joint and its mirrors towards `angle` rad, from the next step until a reset.

        The fingers make no contact: the tool is fixed to the hand, and stays in it when they open.
        """
        assert self.robot.gripper is not None
        low, high = self._model.joint(self.robot.gripper).range
        angle = float(np.clip(angle, low, high))
        self._data.actuator(self.robot.gripper).ctrl = angle
        for joint, multiple in self.robot.mirrors.items():
            self._data.actuator(joint).ctrl = multiple * angle

    @property
    def position(self) -> Array:
        """True joint positions (A,) of the arm, rad."""
        return self._data.qpos[self._qpos].copy()

    def all_joints(self) -> tuple[Array, Array]:
        """True positions (J,) rad or m and velocities (J,) of all joints, in the order of `joint_names`."""
        model, data = self._model, self._data
        return data.qpos[model.jnt_qposadr], data.qvel[model.jnt_dofadr]

    @property
    def relative(self) -> Array:
        """Mate frame in the face frame (6,): x, y, height in m, rotation vector in rad. Privileged."""
        mate = self._tool_pose() @ self._mate_in_tool
        face = self.conditions.face
        error = pose_error(face, mate)
        return np.concatenate([face[:3, :3].T @ error[:3], face[:3, :3].T @ error[3:]])

    @property
    def critical(self) -> bool:
        """True if the tip is close enough to the socket for the critical phase. Privileged."""
        return self.task.critical(self.relative)

    @property
    def distance(self) -> float:
        """Distance from the tool's tip to the socket, m. Privileged."""
        return float(np.linalg.norm(self.relative[:3] - [0.0, 0.0, self.task.reach]))

    def picture(self, width: int, height: int) -> NDArray[np.uint8]:
        """Spectator's view (height, width, 3) of the workcell."""
        return self._rig.spectate(self._data, self.conditions.face[:3, 3], width, height)

    def close(self) -> None:
        """Free the renderer's OpenGL context."""
        self._rig.close()

    def _tool_pose(self) -> Array:
        pose = np.eye(4)
        pose[:3, :3] = self._data.xmat[self._tool].reshape(3, 3)
        pose[:3, 3] = self._data.xpos[self._tool]
        return pose

    def _sample_reachable(self, start_at: Start) -> tuple[Conditions, Array]:
        """Conditions, and joint positions (A,) rad of their start pose; unreachable ones are sampled again."""
        while True:
            conditions = self._sample(start_at)
            try:
                return conditions, self.kinematics.inverse(conditions.start, self.robot.at_fixture)
            except KinematicsError:
                continue

    def _sample(self, start_at: Start) -> Conditions:
        ranges, rng = self.task.randomisation, self._rng
        face = self._nominal.face.copy()
        face[:3, 3] += face[:3, :3] @ (rng.uniform(-1, 1, 3) * ranges.fixture_shift)
        turn = rng.uniform(-1, 1, 3) * [ranges.fixture_tilt, ranges.fixture_tilt, ranges.fixture_turn]
        face[:3, :3] = face[:3, :3] @ rotation(turn)
        above = self._nominal.tool if start_at is Start.APPROACH else face @ np.linalg.inv(self._mate_in_tool)
        tilt, shift, height = [ranges.start_tilt] * 3, ranges.start_shift, _START_HEIGHT
        if start_at is Start.CRITICAL:
            height = _CRITICAL_HEIGHT
        elif start_at is Start.ASTRAY:
            tilt, shift = [*tilt[:2], _ASTRAY_TURN], (_ASTRAY_SHIFT, _ASTRAY_SHIFT, 0.0)
            height = rng.uniform(*_ASTRAY_HEIGHT)
        start = above.copy()
        start[:3, :3] = start[:3, :3] @ rotation(rng.uniform(-1, 1, 3) * tilt)
        offset = rng.uniform(-1, 1, 3) * shift - [0.0, 0.0, height + self.task.reach]
        start[:3, 3] += self._nominal.tool[:3, :3] @ offset
        return Conditions(face, start)

    def _paint(self) -> None:
        """Vary colours and light, so that no two images of the socket are equal."""
        rng, model = self._rng, self._model
        tint = 1.0 + rng.uniform(-_COLOUR_JITTER, _COLOUR_JITTER, size=(model.ngeom, 3))
        model.geom_rgba[:, :3] = np.clip(self._colours[:, :3] * tint, 0.0, 1.0)
        bench = model.geom("bench").id
        model.geom_rgba[bench, :3] = rng.uniform(0.2, 0.7) * (1.0 + rng.uniform(-0.3, 0.3, 3))
        brightness = 1.0 + rng.uniform(-_LIGHT_JITTER, _LIGHT_JITTER, size=(model.nlight, 1))
        model.light_diffuse[:] = self._lights * brightness
