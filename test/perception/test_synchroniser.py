"""Samples of one moment become one observation; everything else is counted."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlt_ros.perception import Observation
from rlt_ros.perception.synchroniser import SyncConfig, Synchroniser

MS = 1_000_000
CAMERAS = ("head", "hand")


class Bench:
    """A synchroniser whose pictures show their own stamp, and whose joint positions are their stamp in s."""

    def __init__(self, **config: Any) -> None:
        self.dropped: Counter[str] = Counter()
        self.sync = Synchroniser(SyncConfig(**config), CAMERAS, lambda kind, _: self.dropped.update([kind]))

    def joints(self, ms: float, now: float | None = None, velocity: float | None = None) -> list[Observation]:
        value = np.array([ms * 1e-3])  # rad; no joint turns by half a turn between two states
        speed = np.array([10 * ms if velocity is None else velocity])
        return self.sync.add_joints(round(ms * MS), value, speed, _ns(now))

    def picture(self, camera: str, ms: float, now: float | None = None) -> list[Observation]:
        pixels = np.full((2, 2, 3), round(ms) % 256, np.uint8)
        return self.sync.add_picture(camera, round(ms * MS), pixels, _ns(now))

    def both(self, ms: float, now: float | None = None) -> list[Observation]:
        return [o for camera in CAMERAS for o in self.picture(camera, ms, now)]


def _ns(ms: float | None) -> int | None:
    return None if ms is None else round(ms * MS)


def shown(observation: Observation) -> tuple[float, ...]:
    """Moment, what each camera shows, and the joint position."""
    return (
        observation.stamp / MS,
        *(float(observation.images[camera][0, 0, 0]) for camera in CAMERAS),
        round(float(observation.position[0]) * 1e3, 6),
    )


def test_a_set_of_one_stamp_is_an_observation_in_any_order() -> None:
    for order in ("jhb", "jbh", "hjb", "hbj", "bjh", "bhj"):
        bench = Bench()
        made = []
        for who in order:
            made += bench.joints(20) if who == "j" else bench.picture("head" if who == "h" else "hand", 20)
        assert [shown(observation) for observation in made] == [(20, 20, 20, 20)]
        assert bench.dropped == {}


def test_joints_are_interpolated_and_pictures_are_the_nearest() -> None:
    bench = Bench()
    bench.joints(10)
    bench.picture("hand", 12)
    bench.picture("head", 20)
    assert bench.joints(30) == []  # a nearer picture may come
    (observation,) = bench.picture("hand", 26)
    assert shown(observation) == (20, 20, 26, 20)
    assert observation.velocity[0] == pytest.approx(200)


def test_pictures_beyond_the_tolerance_make_no_observation() -> None:
    bench = Bench(tolerance=0.005)
    bench.joints(20)
    bench.picture("head", 20)
    assert bench.picture("hand", 26) == []
    assert bench.dropped == {"incomplete observation": 1}


def test_joint_states_too_far_apart_make_no_observation() -> None:
    bench = Bench(max_gap=0.05)
    bench.joints(10)
    bench.both(20)
    assert bench.joints(70) == []
    assert bench.dropped == {"incomplete observation": 1}


def test_a_camera_that_falls_silent_costs_observations_that_are_counted() -> None:
    bench = Bench(max_age=0.1)
    for ms in range(20, 420, 20):
        assert bench.joints(ms, now=ms) == []
        assert bench.picture("head", ms, now=ms) == []
    kinds = {"incomplete observation", "late observation"}
    assert set(bench.dropped) <= kinds
    assert sum(bench.dropped.values()) == 20 - 6  # those of the newest 0.1 s may still be completed


@pytest.mark.parametrize(
    ("ms", "now", "kind"),
    [
        (100, 1100, "stale {}"),
        (900, 100, "{} from the future"),
        (0, 100, "{} without stamp"),
        (100, 100, "duplicate {}"),
        (90, 100, "{} out of order"),
    ],
)
@pytest.mark.parametrize("who", ["joint state", "picture of hand"])
def test_what_cannot_be_used_is_counted_by_kind(ms: float, now: float, kind: str, who: str) -> None:
    bench = Bench()
    give = bench.joints if who == "joint state" else lambda *times: bench.picture("hand", *times)
    give(100, 100)
    assert give(ms, now) == []
    assert bench.dropped == {kind.format(who): 1}


def test_what_was_dropped_does_not_change_what_is_made() -> None:
    bench = Bench()
    bench.both(20, 20)
    bench.both(20, 20)
    bench.picture("head", 5000, 25)
    (observation,) = bench.joints(20, 25)
    assert shown(observation) == (20, 20, 20, 20)
    assert bench.dropped == {
        "duplicate picture of head": 1,
        "duplicate picture of hand": 1,
        "picture of head from the future": 1,
    }


def test_a_set_that_is_complete_too_late_is_dropped() -> None:
    bench = Bench(max_age=0.1)
    bench.both(20, 20)
    assert bench.joints(20, 130) == []
    assert bench.joints(120, 130) == []
    assert bench.dropped == {"stale joint state": 1, "late observation": 1}


@pytest.mark.parametrize("who", ["joints", "head"])
def test_a_source_whose_clock_was_set_back_starts_all_anew(who: str) -> None:
    bench = Bench()
    bench.joints(5000)
    bench.both(5010)
    if who == "joints":
        bench.joints(20)
        bench.both(20)
    else:
        bench.both(20)
        bench.joints(20)
    assert bench.sync.resets == 1
    bench.joints(40)
    (observation,) = bench.both(40)
    assert shown(observation)[0] == 40


def test_after_a_reset_nothing_of_before_is_used() -> None:
    bench = Bench()
    bench.both(20)
    bench.sync.reset()
    assert bench.joints(20) == []
    bench.joints(40)
    assert [shown(o)[0] for o in bench.both(40)] == [40]


def test_latest_waits_for_nobody() -> None:
    bench = Bench(policy="latest", max_age=0.1)
    bench.joints(10)
    bench.picture("hand", 15)
    (observation,) = bench.picture("head", 60)
    assert shown(observation) == (60, 60, 15, 10)
    assert bench.picture("head", 140) == []  # the hand's is too old by now
    assert bench.dropped == {"incomplete observation": 1}


def test_latest_needs_joint_states_that_are_not_too_old() -> None:
    bench = Bench(policy="latest", max_age=0.1)
    bench.joints(10)
    bench.picture("hand", 150)
    assert bench.picture("head", 150) == []
    assert bench.dropped == {"incomplete observation": 1}


def test_a_burst_of_one_camera_is_bounded() -> None:
    bench = Bench()
    for ms in range(1, 101):
        bench.picture("head", ms)
    assert bench.dropped["incomplete observation"] == 92


@given(st.lists(st.sampled_from(["joints", *CAMERAS]), min_size=60, max_size=60), st.integers(0, 2**32 - 1))
def test_who_comes_first_does_not_change_the_observations(turns: list[str], seed: int) -> None:
    rng = np.random.default_rng(seed)
    times = {
        "joints": np.cumsum(rng.uniform(2, 6, 40)) + 1,
        "head": np.cumsum(rng.uniform(15, 25, 6)) + 1,
        "hand": np.cumsum(rng.uniform(15, 25, 6)) + 1,
    }

    def run(order: list[str]) -> list[tuple[float, ...]]:
        bench = Bench()
        left = {who: list(ms) for who, ms in times.items()}
        made = []
        for who in [*order, *(one for one in left for _ in times[one])]:
            if left[who]:
                ms = left[who].pop(0)
                made += bench.joints(ms) if who == "joints" else bench.picture(who, ms)
        assert bench.sync.made + bench.dropped["incomplete observation"] <= 6
        return [shown(observation) for observation in made]

    reference, other = run(["joints"] * 40), run(turns)
    assert reference == other
    for stamp, head, hand, position in reference:
        assert head == round(stamp) % 256
        assert position == pytest.approx(stamp, abs=1e-6)
        assert min(abs(ms - stamp) for ms in times["hand"]) <= 15
        assert hand == round(min(times["hand"], key=lambda ms, stamp=stamp: abs(ms - stamp))) % 256


@pytest.mark.parametrize("policy", ["exact", "latest"])
def test_there_is_no_observation_before_a_velocity_is_known(policy: str) -> None:
    bench = Bench(policy=policy)
    made = []
    for ms in range(10, 60, 10):
        bench.joints(ms, velocity=float("nan"))
        made += bench.both(ms)
    assert [shown(observation)[0] for observation in made] == [30, 40, 50]
    assert [float(observation.velocity[0]) for observation in made] == [pytest.approx(1.0)] * 3
    assert bench.dropped["incomplete observation"] == 2


def test_no_velocity_is_derived_across_a_clock_that_was_set_back() -> None:
    bench = Bench()
    for ms in (5000, 5020, 20):
        bench.joints(ms, velocity=float("nan"))
    assert bench.sync.resets == 1
    assert bench.both(20) == []
    bench.joints(40, velocity=float("nan"))
    (observation,) = bench.both(40)
    assert observation.velocity[0] == pytest.approx(1.0)


def test_a_state_that_is_not_used_is_nothing_that_a_velocity_is_derived_from() -> None:
    bench = Bench()
    bench.joints(20, velocity=float("nan"))
    bench.sync.add_joints(20 * MS, np.array([9.0]), np.array([np.nan]), None)  # a duplicate
    bench.joints(40, velocity=float("nan"))
    (observation,) = bench.both(40)
    assert observation.velocity[0] == pytest.approx(1.0)
