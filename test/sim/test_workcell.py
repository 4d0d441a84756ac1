"""The simulated workcell: deterministic, honest about success, and fast enough to be of use."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from rlt_ros.robots.kinematics import rotation
from rlt_ros.sim import scene
from rlt_ros.sim.demonstrations import demonstrate
from rlt_ros.sim.demonstrator import Demonstrator
from rlt_ros.sim.tasks import TASKS
from rlt_ros.sim.workcell import Workcell

FINGERS = ("idx81_gripper_r_outer_joint1", "idx71_gripper_r_inner_joint1")


@pytest.fixture(scope="module", params=sorted(TASKS))
def workcell(request: pytest.FixtureRequest) -> Iterator[Workcell]:
    cell = Workcell(TASKS[request.param])
    yield cell
    cell.close()


def test_the_same_seed_gives_the_same_episode_bit_by_bit(workcell: Workcell) -> None:
    runs = []
    for _ in range(2):
        workcell.reset(11)
        human = Demonstrator(workcell, 11)
        for _ in range(40):
            workcell.step(human.command()[0])
        runs.append(workcell.observe())
    np.testing.assert_array_equal(runs[0].proprio, runs[1].proprio)
    for camera in workcell.robot.cameras:
        np.testing.assert_array_equal(runs[0].images[camera], runs[1].images[camera])


def test_the_gripper_opens_and_closes_and_a_reset_puts_it_back(workcell: Workcell) -> None:
    def fingers() -> list[float]:
        position = workcell.all_joints()[0]
        return [position[workcell.joint_names.index(name)] for name in FINGERS]

    workcell.reset(4)
    posture = [workcell.robot.posture[name] for name in FINGERS]
    start = workcell.position
    for angle in (0.7, 0.0, 9.0):
        workcell.grip(angle)
        for _ in range(40):
            workcell.step(start)
        reached = min(angle, 0.7854)
        np.testing.assert_allclose(fingers(), [reached, -reached], atol=0.01)
    np.testing.assert_allclose(workcell.position, start, atol=2e-3)
    workcell.reset(4)
    for _ in range(20):
        workcell.step(workcell.position)
    np.testing.assert_allclose(fingers(), posture, atol=0.01)


def test_different_seeds_move_the_fixture_and_the_start(workcell: Workcell) -> None:
    first, second = workcell.reset(1), workcell.reset(2)
    assert np.linalg.norm(first.face[:3, 3] - second.face[:3, 3]) > 1e-4
    assert np.linalg.norm(first.start[:3, 3] - second.start[:3, 3]) > 1e-4


def test_every_camera_sees_the_fixture_move(workcell: Workcell) -> None:
    workcell.reset(3)
    before = workcell.observe().images
    workcell._data.mocap_pos[0] += [0.01, 0.0, 0.0]
    workcell.step(workcell.position)
    after = workcell.observe().images
    for camera in workcell.robot.cameras:
        changed = np.abs(before[camera].astype(int) - after[camera]).max(axis=2) > 20
        assert changed.sum() >= 4, camera


def test_the_demonstrator_succeeds_slowly(workcell: Workcell) -> None:
    demonstrations = [demonstrate(workcell, seed, image_stride=1000) for seed in range(5)]
    assert all(demonstration.success for demonstration in demonstrations)
    assert np.median([demonstration.steps for demonstration in demonstrations]) > 100


def test_a_free_tool_is_not_mated_however_long_it_waits(workcell: Workcell) -> None:
    workcell.reset(4)
    hold = workcell.position
    assert not any(workcell.step(hold) for _ in range(50))


def _pose_at(workcell: Workcell, offset: list[float], turn: float) -> np.ndarray:
    mate = np.eye(4)
    mate[:3, :3] = rotation(np.array([0.0, 0.0, turn]))
    mate[:3, 3] = offset
    return workcell.conditions.face @ mate @ np.linalg.inv(scene.mate_in_tool(workcell.task))


def _press(workcell: Workcell, sideways: float, turn: float) -> bool:
    """Bring the tool over the socket, off by so much, and press for two seconds."""
    joints = workcell.position
    for height in np.concatenate(
        [np.linspace(0.05, 0.0, 80) + workcell.task.reach, np.linspace(workcell.task.reach, -0.004, 60)]
    ):
        joints = workcell.kinematics.inverse(_pose_at(workcell, [sideways, 0.0, height], turn), joints)
        mated = workcell.step(joints)
    return mated or any(workcell.step(joints) for _ in range(40))


def test_straight_down_mates(workcell: Workcell) -> None:
    workcell.reset(5)
    assert _press(workcell, 0.0, 0.0)


def test_five_millimetres_beside_the_socket_does_not_mate(workcell: Workcell) -> None:
    workcell.reset(5)
    assert not _press(workcell, 0.005, 0.0)
    assert workcell.relative[2] > workcell.task.seat


def test_a_quarter_turn_does_not_mate(workcell: Workcell) -> None:
    workcell.reset(5)
    assert not _press(workcell, 0.0, np.pi / 4)


def test_joint_limits_hold_inside_the_robot_too(workcell: Workcell) -> None:
    workcell.reset(6)
    for _ in range(100):
        workcell.step(np.full(7, 10.0))
    assert (workcell.position <= workcell.kinematics.upper + 0.05).all()


@pytest.mark.parametrize("command", [np.zeros(6), np.full(7, np.nan), np.array([np.inf] + [0.0] * 6)])
def test_an_unusable_command_is_refused(workcell: Workcell, command: np.ndarray) -> None:
    with pytest.raises(ValueError, match="7 finite joint targets"):
        workcell.step(command)


def test_a_recorded_demonstration_leaves_out_the_hands_sway(workcell: Workcell) -> None:
    workcell.reset(7)
    human = Demonstrator(workcell, 7)
    pairs = []
    for _ in range(30):
        sent, meant = human.command()
        workcell.step(sent)
        pairs.append(np.abs(sent - meant).max())
    assert 1e-4 < max(pairs) < 0.05


def test_hand_over_happens_near_the_socket_and_not_at_the_start(workcell: Workcell) -> None:
    workcell.reset(8)
    assert not workcell.critical
    human = Demonstrator(workcell, 8)
    while not workcell.critical:
        workcell.step(human.command()[0])
    nearest = workcell.task.critical_distance
    assert 0.8 * nearest < workcell.distance < nearest
