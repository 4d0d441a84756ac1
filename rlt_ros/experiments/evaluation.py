"""Evaluation of the frozen VLA, the demonstrator and the trained policy on the same episodes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from rlt_ros.episodes.plan import EVALUATION_SEED
from rlt_ros.experiments.policy import open_policy
from rlt_ros.experiments.rollout import EpisodeResult, Rollout, Sight
from rlt_ros.learning.checkpoint import PolicyUpdate
from rlt_ros.perception import Observation
from rlt_ros.replay.stream import EpisodeOutcome
from rlt_ros.report.statistics import SuccessStats, as_long_as_a_timeout, summarise
from rlt_ros.sim.demonstrator import Demonstrator
from rlt_ros.sim.workcell import Start, Workcell


def evaluation_seeds(count: int, first: int | None = None) -> range:
    """Seeds of the evaluation episodes, common to all compared policies."""
    start = EVALUATION_SEED if first is None else first
    return range(start, start + count)


def rollouts(
    rollout: Rollout,
    policy: PolicyUpdate | None,
    seeds: Sequence[int],
    *,
    sight: Sight | None = None,
    watch: Callable[[], None] | None = None,
) -> Iterator[EpisodeResult]:
    """Run one evaluation episode per seed, by the frozen VLA without `policy`; ``watch`` is called after every step."""
    for seed in seeds:
        yield rollout.run(seed, policy, sight=sight, watch=watch)


def demonstrations(workcell: Workcell, seeds: Sequence[int], start: Start) -> Iterator[EpisodeResult]:
    """Run the scripted demonstrator under the same conditions, with the same count of the critical phase."""
    for seed in seeds:
        workcell.reset(seed, start)
        human = Demonstrator(workcell, seed)
        while not workcell.critical:
            workcell.step(human.command()[0])
        steps, mated = 0, False
        while not mated and steps < workcell.task.critical_limit:
            mated = workcell.step(human.command()[0])
            steps += 1
        end = EpisodeOutcome.SUCCESS if mated else EpisodeOutcome.TIMEOUT
        yield EpisodeResult(end.word, steps)


def success_stats(episodes: Sequence[EpisodeResult]) -> SuccessStats:
    """Success, median steps and throughput with intervals.

    An approach that did not reach the critical phase counts as a failure with the duration of a time-out.
    """
    return summarise([e.success for e in episodes], as_long_as_a_timeout([e.steps for e in episodes]))


def blank(observation: Observation) -> Observation:
    """Replace the pictures by grey ones, so that only proprioception remains."""
    return replace(observation, images={k: np.full_like(v, 128) for k, v in observation.images.items()})


class Swapped:
    """Replacement of pictures by the previous episode's at the same step, which show the socket elsewhere."""

    def __init__(self) -> None:
        self._before: list[Mapping[str, Any]] = []
        self._now: list[Mapping[str, Any]] = []
        self._last_stamp = -1

    def __call__(self, observation: Observation) -> Observation:
        """Replace the pictures; grey ones in the first episode."""
        if self._now and observation.stamp <= self._last_stamp:
            self._before, self._now = self._now, []
        self._last_stamp = observation.stamp
        self._now.append(observation.images)
        if not self._before:
            return blank(observation)
        shown = self._before[min(len(self._now), len(self._before)) - 1]
        return replace(observation, images=shown)


SIGHTS: dict[str, Callable[[], Sight | None]] = {
    "true": lambda: None,
    "blank": lambda: blank,
    "swapped": Swapped,
}


def evaluate(
    run_dir: Path, *, episodes: int, policy: str, images: str = "true", seed: int | None = None
) -> dict[str, Any]:
    """Evaluate a trained run's policy, its frozen VLA or the demonstrator on `episodes` episodes.

    Args:
        run_dir: folder of the run.
        episodes: number of episodes.
        policy: `rlt`, `base` or `demo`.
        images: `true`, `blank` or `swapped`: the policy's pictures in the critical phase.
        seed: seed of the first episode; None for the common evaluation episodes.

    Returns:
        Success statistics with `policy`, `images` and `task`.
    """
    loaded = open_policy(run_dir)
    seeds = evaluation_seeds(episodes, seed)
    sight = SIGHTS[images]()
    if policy == "demo":
        done = list(demonstrations(loaded.workcell, seeds, loaded.start))
    else:
        actor = None if policy == "base" else loaded.update
        done = list(rollouts(loaded.rollout, actor, seeds, sight=sight))
    loaded.workcell.close()
    return {
        **success_stats(done).as_dict(),
        "policy": policy,
        "images": images,
        "task": loaded.workcell.task.name,
    }
