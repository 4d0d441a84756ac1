"""Every robot with a simulation profile works at the simulated bench."""

from __future__ import annotations

import dataclasses
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path

import mujoco
import numpy as np
import pytest

from rlt_ros.robots.profile import load_profile, profile_names
from rlt_ros.sim import scene
from rlt_ros.sim.demonstrations import demonstrate
from rlt_ros.sim.station import station
from rlt_ros.sim.tasks import TASKS
from rlt_ros.sim.urdf_source import load_spec
from rlt_ros.sim.workcell import Start, Workcell
from rlt_ros.store.parameters import ConfigError

SIMULATED = [name for name in profile_names() if load_profile(name).simulation]


def test_g1_fr3_and_ur5e_can_be_simulated() -> None:
    assert {"agibot_g1_geniesim", "franka_fr3", "ur5e"} <= set(SIMULATED)


@pytest.fixture(scope="module", params=SIMULATED)
def workcell(request: pytest.FixtureRequest) -> Iterator[Workcell]:
    cell = Workcell(TASKS["charger"], station(load_profile(request.param)), image_size=32)
    yield cell
    cell.close()


def test_it_plugs_the_charger_in(workcell: Workcell) -> None:
    shown = demonstrate(workcell, seed=1, image_stride=20)
    assert shown.success
    assert shown.position.shape[1] == len(workcell.robot.arm)
    assert set(shown.images) == set(workcell.robot.cameras)


def test_it_starts_at_rest_over_the_socket_wherever_that_is(workcell: Workcell) -> None:
    for seed in range(5):
        workcell.reset(seed, Start.CRITICAL)
        start = workcell.position
        assert workcell.distance < 0.05
        for _ in range(20):
            workcell.step(start)
        np.testing.assert_allclose(workcell.position, start, atol=2e-3)


def test_its_cameras_see_the_tool_and_the_socket_move(workcell: Workcell) -> None:
    workcell.reset(3, Start.CRITICAL)
    before = workcell.observe().images
    for _ in range(25):
        tool = workcell.kinematics.forward(workcell.position)
        tool[:3, 3] -= 0.01 * tool[:3, 2]
        workcell.step(workcell.kinematics.inverse(tool, workcell.position))
    after = workcell.observe().images
    for camera in workcell.robot.cameras:
        changed = np.abs(after[camera].astype(int) - before[camera]).max(axis=2) > 20
        assert changed.mean() > 0.01, camera


def test_mujoco_and_pinocchio_agree_on_the_tool(workcell: Workcell) -> None:
    robot = workcell.robot
    model = scene.build(TASKS["charger"], robot)
    data, arm, rng = mujoco.MjData(model), robot.kinematics(), np.random.default_rng(0)
    for _ in range(5):
        q = np.clip(robot.at_fixture + rng.uniform(-0.5, 0.5, len(robot.arm)), arm.lower, arm.upper)
        for name, value in {**robot.posture, **dict(zip(robot.arm, q, strict=True))}.items():
            data.joint(name).qpos = value
        mujoco.mj_forward(model, data)
        np.testing.assert_allclose(data.body(robot.tool_link).xpos, arm.forward(q)[:3, 3], atol=1e-8)


@pytest.mark.parametrize(("robot", "words"), [("xarm7", "no `simulation`"), ("aloha", "no `simulation`")])
def test_a_robot_without_a_place_in_the_simulator_is_refused(robot: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        station(load_profile(robot))


def test_a_urdf_as_drivers_publish_it_can_be_simulated(tmp_path: Path) -> None:
    robot = station(load_profile("ur5e"))
    tree = ElementTree.parse(robot.urdf)
    root = tree.getroot()
    for element in root.findall("mujoco"):
        root.remove(element)
    for link in root.findall("link"):
        for shape in [*link.findall("visual"), *link.findall("collision")]:
            link.remove(shape)
        for kind in ("visual", "collision"):
            geometry = ElementTree.SubElement(ElementTree.SubElement(link, kind), "geometry")
            ElementTree.SubElement(geometry, "mesh", filename="package://ur_description/meshes/link.dae")
    tree.write(tmp_path / "driver.urdf")
    cell = Workcell(
        TASKS["charger"], dataclasses.replace(robot, urdf=tmp_path / "driver.urdf"), image_size=32
    )
    try:
        assert demonstrate(cell, seed=1, image_stride=20).success
        assert cell.observe().images["head"].std() > 10.0
    finally:
        cell.close()


def test_a_urdf_that_mujoco_cannot_load_is_named(tmp_path: Path) -> None:
    (tmp_path / "arm.urdf").write_text("<robot name='arm'><joint name='j' type='revolute'/></robot>")
    with pytest.raises(ValueError, match=r"arm\.urdf"):
        load_spec(tmp_path / "arm.urdf")
