"""One loop for collecting and evaluating: what it stores is what the robot did."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from rlt_ros.experiments.evaluation import Swapped, blank, demonstrations, evaluation_seeds, success_stats
from rlt_ros.experiments.rollout import EpisodeResult, Rollout
from rlt_ros.experiments.run_config import build_settings
from rlt_ros.experiments.trainer import Training, TrainingError
from rlt_ros.learning.checkpoint import PolicyUpdate
from rlt_ros.learning.run_folder import NO_APPROACH
from rlt_ros.perception import Observation
from rlt_ros.replay.stream import EpisodeOutcome
from rlt_ros.rlt.config import RLTConfig
from rlt_ros.rlt.transition import RowOutcome, Source, Window
from rlt_ros.robots.action_space import ActionSpace
from rlt_ros.robots.profile import DEFAULT_ROBOT, load_profile
from rlt_ros.sim.demonstrator import Demonstrator
from rlt_ros.sim.scripted_operator import ScriptedOperator
from rlt_ros.sim.station import agibot_g1
from rlt_ros.sim.tasks import TASKS
from rlt_ros.sim.workcell import Start, Workcell
from rlt_ros.store.lineage import Lineage
from rlt_ros.vla.frozen import VLAFeatures

HORIZON = 50


class StraightDown:
    """Stands in for VLA and token: its chunk moves the tool along its own axis; the token is the joint positions."""

    action_space = ActionSpace(np.full(7, 0.02))
    z_dim = 7
    lineage = Lineage(vla="test", token="test", stats="test")

    def __init__(self, speed: float) -> None:
        self._arm, self._speed = agibot_g1().kinematics(), speed

    def encode(
        self, observations: Sequence[Observation], instruction: str, generator: torch.Generator
    ) -> VLAFeatures:
        chunks = []
        for observation in observations:
            axis = self._arm.forward(observation.position)[:3, 2]
            twist = np.concatenate([axis * self._speed / 50.0, np.zeros(3)])
            step = self._arm.step_towards(observation.position, twist, damping=1e-2)
            chunks.append(np.arange(1, HORIZON + 1)[:, None] * step / self.action_space.scale)
        proprio = np.stack([o.proprio for o in observations]).astype(np.float32)
        return VLAFeatures(proprio[:, :7], proprio, np.stack(chunks).astype(np.float32))


class ScriptedActor:
    """Stands in for the actor: its chunk (C, A) is a function of the joints (A,) rad and the reference (C, A)."""

    def __init__(self, chunk: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> None:
        self._chunk = chunk

    def act(
        self, z: torch.Tensor, proprio: torch.Tensor, reference: torch.Tensor, **_: object
    ) -> torch.Tensor:
        joints = proprio[0, : proprio.shape[1] // 2].numpy()
        return torch.from_numpy(self._chunk(joints, reference[0].numpy()).astype(np.float32))[None]


def acting(chunk: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> PolicyUpdate:
    return PolicyUpdate(ScriptedActor(chunk), 1, StraightDown.lineage)  # type: ignore[arg-type]


def hold(joints: np.ndarray, reference: np.ndarray) -> np.ndarray:
    return np.zeros_like(reference)


def loop(workcell: Workcell, speed: float = 0.1, **config: int) -> Rollout:
    return Rollout(workcell, StraightDown(speed), RLTConfig(**config), load_profile(DEFAULT_ROBOT))


@pytest.fixture(scope="module")
def workcell() -> Iterator[Workcell]:
    cell = Workcell(TASKS["charger"])
    yield cell
    cell.close()


def _run(workcell: Workcell, speed: float = 0.1) -> tuple[EpisodeResult, list[Window]]:
    windows: list[Window] = []
    episode = loop(workcell, speed).run(5, episode=3, collect=windows.extend)
    return episode, windows


def test_a_critical_phase_is_stored_as_one_window_every_two_steps(workcell: Workcell) -> None:
    windows: list[Window] = []
    episode = loop(workcell).run(5, acting(hold), episode=3, collect=windows.extend)
    assert episode.end == EpisodeOutcome.TIMEOUT.word
    assert episode.steps == workcell.task.critical_limit
    first = windows[0].step  # counted from the beginning of the approach
    assert [window.step for window in windows] == list(range(first, first + episode.steps, 2))
    assert all(window.episode == 3 for window in windows)
    assert windows[-1].outcome is RowOutcome.TRUNCATED
    assert windows[-1].discount > 0.0


def test_stored_actions_are_what_was_sent_after_the_safety_filter(workcell: Workcell) -> None:
    """A policy that asks for the impossible is recorded with the possible."""
    windows: list[Window] = []
    wild = acting(lambda _, reference: np.full_like(reference, 1e6))
    loop(workcell).run(5, wild, collect=windows.extend)
    largest_step = workcell.kinematics.velocity_limit / 50.0
    scale = StraightDown.action_space.scale
    assert windows
    for window in windows:
        moves = np.diff(window.action[: window.valid], axis=0) * scale
        assert (np.abs(moves) <= largest_step + 1e-4).all()


def test_not_a_number_never_reaches_the_robot_and_the_vla_acts_in_its_place(workcell: Workcell) -> None:
    rollout, windows = loop(workcell), list[Window]()
    rollout.run(5, acting(lambda _, reference: np.full_like(reference, np.nan)), collect=windows.extend)
    assert rollout.dropped["not finite"] > 0
    assert {source for window in windows for source in window.source[: window.valid]} == {Source.VLA}


def test_an_episode_is_the_same_again_for_the_same_seed(workcell: Workcell) -> None:
    (first, one), (second, two) = _run(workcell), _run(workcell)
    assert first == second
    for a, b in zip(one, two, strict=True):
        np.testing.assert_array_equal(a.action, b.action)
        np.testing.assert_array_equal(a.z, b.z)


def test_a_tool_that_never_comes_near_gives_no_rows(workcell: Workcell) -> None:
    windows: list[Window] = []
    episode = loop(workcell, -0.01).run(5, collect=windows.extend)
    assert episode.end == NO_APPROACH
    assert not windows


def test_a_vla_that_never_gets_near_is_an_error_with_a_remedy(tmp_path: Path) -> None:
    chosen = build_settings({}, origin="test")
    run = Training(tmp_path, "charger", 0, chosen, StraightDown(-0.01))
    with pytest.raises(TrainingError, match=r"run\.start=critical"):
        run.complete(robot_minutes=1.0, eval_episodes=1)
    run.close()


def test_a_tool_that_strays_ends_in_failure(workcell: Workcell) -> None:
    windows: list[Window] = []
    away = acting(lambda _, reference: -2.0 * reference)
    episode = loop(workcell).run(5, away, collect=windows.extend)
    assert episode.end == EpisodeOutcome.FAILURE.word
    assert windows[-1].terminated
    assert windows[-1].outcome is RowOutcome.FAILURE


def test_a_success_ends_the_stream_with_the_reward(workcell: Workcell) -> None:
    """The demonstrator acts in the actor's place, and every window that reaches the end has the reward."""
    windows: list[Window] = []
    human: list[Demonstrator] = []

    def teach(joints: np.ndarray, reference: np.ndarray) -> np.ndarray:
        if not human:
            human.append(Demonstrator(workcell, 1))
        target = human[0].command()[1]
        return StraightDown.action_space.encode(joints.astype(np.float64), target[None])

    # One decision per chunk is too coarse for this human to finish, so the chunk is one step long.
    rollout = loop(workcell, chunk=1, stride=1)
    episode = rollout.run(5, acting(teach), collect=windows.extend)
    assert episode.success
    assert windows[-1].reward == pytest.approx(1.0)
    assert windows[-1].discount == 0.0
    assert sum(window.reward for window in windows) == pytest.approx(1.0)


def test_the_operator_finishes_what_the_policy_does_not_get_on_with(workcell: Workcell) -> None:
    windows: list[Window] = []
    operator = ScriptedOperator(workcell, patience=30)
    episode = loop(workcell).run(7, acting(hold), collect=windows.extend, operator=operator)
    assert episode.success
    assert 0.0 < episode.human_share < 1.0
    commanded = [source for window in windows for source in window.source[: window.valid]]
    assert commanded[0] == Source.ACTOR
    assert commanded[-1] == Source.HUMAN
    assert windows[-1].outcome is RowOutcome.SUCCESS


def test_the_operator_leaves_a_policy_alone_that_gets_on(workcell: Workcell) -> None:
    rollout, rows, alone = loop(workcell), list[Window](), list[Window]()
    follow = acting(lambda _, reference: reference)
    operator = ScriptedOperator(workcell, patience=10_000)
    helped = rollout.run(5, follow, collect=rows.extend, operator=operator)
    assert helped == rollout.run(5, follow, collect=alone.extend)
    assert helped.human_share == 0.0


def test_an_operator_who_has_not_taken_over_commands_nothing(workcell: Workcell) -> None:
    with pytest.raises(RuntimeError, match="not taken over"):
        ScriptedOperator(workcell).command()


def test_the_demonstrators_critical_phase_is_measured_on_the_same_seeds(workcell: Workcell) -> None:
    episodes = list(demonstrations(workcell, evaluation_seeds(3), Start.APPROACH))
    assert sum(episode.success for episode in episodes) >= 2
    assert success_stats(episodes).episodes == 3


def test_an_approach_that_failed_counts_as_a_failure(workcell: Workcell) -> None:
    result = success_stats([EpisodeResult("success", 100), EpisodeResult(NO_APPROACH, 0)])
    assert result.success_rate == 0.5


def _seen(stamp: int, value: int) -> Observation:
    return Observation(stamp, {"head": np.full((2, 2, 3), value, np.uint8)}, np.zeros(7), np.zeros(7))


def test_blank_pictures_hold_nothing(workcell: Workcell) -> None:
    workcell.reset(1)
    pictures = blank(workcell.observe()).images
    assert all(np.ptp(picture) == 0 for picture in pictures.values())


def test_swapped_pictures_are_those_of_the_episode_before() -> None:
    sight = Swapped()
    for stamp, value in ((0, 10), (20, 11)):
        sight(_seen(stamp, value))
    shown = [
        sight(_seen(stamp, value)).images["head"][0, 0, 0] for stamp, value in ((0, 50), (20, 51), (40, 52))
    ]
    assert shown == [10, 11, 11]
