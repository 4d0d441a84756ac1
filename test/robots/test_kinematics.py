"""Pinocchio's kinematics of the URDFs against published figures, MuJoCo and itself."""

from __future__ import annotations

import mujoco
import numpy as np
import pytest

from rlt_ros.robots.kinematics import KinematicsError, pose_error, rotation
from rlt_ros.sim import scene
from rlt_ros.sim.station import agibot_g1
from rlt_ros.sim.tasks import TASKS

ROBOT = agibot_g1()
# Genie Sim's default arm posture, right arm; its data sets put the flange near (0.62, -0.30, 1.03) m there.
GENIE_SIM_ARM = np.array([1.0734, -0.6109, -0.2793, 1.2846, -0.7313, -1.4957, 0.1868])
FLANGE_TO_TOOL = 0.14308


def test_the_default_posture_puts_the_flange_where_recorded_data_has_it() -> None:
    tool = ROBOT.kinematics().forward(GENIE_SIM_ARM)
    flange = tool[:3, 3] - FLANGE_TO_TOOL * tool[:3, 2]
    np.testing.assert_allclose(flange, [0.62, -0.30, 1.03], atol=0.01)


def test_pinocchio_and_mujoco_agree_on_the_tool_pose() -> None:
    arm, model = ROBOT.kinematics(), scene.build(TASKS["charger"], ROBOT)
    data = mujoco.MjData(model)
    rng = np.random.default_rng(0)
    for _ in range(20):
        q = rng.uniform(arm.lower, arm.upper)
        for name, value in {**ROBOT.posture, **dict(zip(ROBOT.arm, q, strict=True))}.items():
            data.joint(name).qpos = value
        mujoco.mj_forward(model, data)
        pose = arm.forward(q)
        np.testing.assert_allclose(data.body(ROBOT.tool_link).xpos, pose[:3, 3], atol=1e-9)
        np.testing.assert_allclose(data.body(ROBOT.tool_link).xmat.reshape(3, 3), pose[:3, :3], atol=1e-9)


def test_limits_come_from_the_urdf_in_the_callers_joint_order() -> None:
    arm = ROBOT.kinematics()
    np.testing.assert_allclose(arm.lower, [-3.14, -1.48, -3.10, -1.48, -3.10, -1.74, -3.10])
    np.testing.assert_allclose(arm.upper, [3.14, 2.09, 3.10, 1.48, 3.10, 1.74, 3.10])
    np.testing.assert_allclose(arm.velocity_limit, 3.14)


def test_the_jacobian_is_the_derivative_of_the_pose() -> None:
    arm, step = ROBOT.kinematics(), 1e-6
    q = ROBOT.at_fixture
    jacobian = arm.jacobian(q)
    for joint in range(7):
        moved = q.copy()
        moved[joint] += step
        numeric = pose_error(arm.forward(q), arm.forward(moved)) / step
        np.testing.assert_allclose(jacobian[:, joint], numeric, atol=1e-5)


def test_inverse_kinematics_reaches_every_pose_of_the_workspace() -> None:
    arm = ROBOT.kinematics()
    centre = arm.forward(ROBOT.at_fixture)
    rng = np.random.default_rng(1)
    for _ in range(30):
        pose = centre.copy()
        pose[:3, 3] += rng.uniform(-0.03, 0.03, 3)
        pose[:3, :3] = pose[:3, :3] @ rotation(rng.uniform(-1, 1, 3) * [0.1, 0.1, 0.2])
        q = arm.inverse(pose, ROBOT.at_fixture)
        assert np.abs(pose_error(arm.forward(q), pose)).max() < 1e-5
        assert ((q >= arm.lower) & (q <= arm.upper)).all()


def test_a_pose_out_of_reach_is_an_error_that_names_it() -> None:
    arm = ROBOT.kinematics()
    pose = arm.forward(ROBOT.at_fixture)
    pose[:3, 3] = [3.0, 0.0, 1.0]
    with pytest.raises(KinematicsError, match=r"\[3.0, 0.0, 1.0\]"):
        arm.inverse(pose, ROBOT.at_fixture)
