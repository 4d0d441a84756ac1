"""``rlt-ros bench latency``: punctuality of the control loop, and latency from image and human to command.

Real nodes in their own processes, over the real graph; robot, game pad and a VLA without latency are simulated.
"""

from __future__ import annotations

import json
import multiprocessing
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np

from rlt_ros.bench.bare_timer import BareTimer, bare_timer
from rlt_ros.bench.domain import use_own_domain
from rlt_ros.replay.stream import Phase
from rlt_ros.rlt.transition import Source
from rlt_ros.robots.profile import load_profile

ROBOT = "agibot_g1_geniesim"
# s from one take-over to the next: blend 0.3 s, hold-off 0.4 s, and some steps of the policy.
_TAKE_OVER_INTERVAL = 1.0
# Steps in lock-step, 150 chunks.
_LOCK_STEPS = 1500


def run(seconds: float = 30.0, load: int = 0) -> dict[str, Any]:
    """Measure punctuality and latencies.

    Args:
        seconds: duration of each of two parts: policy alone, and repeated take-overs of a human.
        load: processes that keep a core busy meanwhile.

    Returns:
        ``period_error_ms``: distance of the executor's periods from their nominal length; ``bare_timer_error_ms``: that
        of a bare timer; ``missed_periods``: of more than one period, in both parts; ``missed_by_bare_timer``: those
        among them that a bare timer missed as well; ``picture_to_command_ms``: from publishing images to their
        command's arrival, without the VLA; ``stick_to_command_ms``: from the stick's message to the human's first
        command.
    """
    use_own_domain()
    with _busy(load):
        with bare_timer(1.0 / load_profile(ROBOT).control_hz) as stop_bare_timer:
            punctual = _real_time(seconds, stop_bare_timer)
        path = _lock_step()
    return {"seconds": seconds, "load": load, **punctual, "picture_to_command_ms": path}


def _real_time(seconds: float, stop_bare_timer: Callable[[], BareTimer]) -> dict[str, Any]:
    from rlt_ros.bench.latency_probe import LatencyBench

    profile = load_profile(ROBOT)
    period = 1e9 / profile.control_hz
    with _nodes(
        executor_node={}, perception_node={}, teleop_node={"device": "joy", "direct": "false"}
    ) as alive:
        bench = LatencyBench(profile, _home(profile))
        try:
            probe = bench.probe
            bench.wait_for_nodes("robot", "camera", "chunks", "pad", alive=alive)
            probe.publish_phase(Phase.RESETTING, 1)
            probe.publish_phase(Phase.APPROACH, 1)
            # A pad is used after a sample at rest.
            for held, source in ((False, Source.VLA), (True, Source.HUMAN), (False, Source.VLA)):
                probe.steps.clear()
                bench.warm_up(source, partial(_pad, probe, held))
            bench.run(2.0, partial(_pad, probe, False))
            probe.steps.clear()
            bench.run(seconds, partial(_pad, probe, False))
            stamps = np.array([stamp for stamp, _, _ in probe.steps], dtype=np.int64)

            pressed: list[int] = []
            every = round(_TAKE_OVER_INTERVAL * profile.control_hz)
            shift = np.random.default_rng(0).integers(0, every // 4, size=1 + round(seconds))

            def press(number: int) -> None:
                held = number % every >= every // 2 + shift[number // every % len(shift)]
                if held and (number == 0 or not last[0]):
                    pressed.append(probe.get_clock().now().nanoseconds)
                last[0] = held
                probe.publish_gamepad(held=bool(held))

            last = [False]
            probe.steps.clear()
            bench.run(seconds, press)
            taken_over = np.array([stamp for stamp, _, _ in probe.steps], dtype=np.int64)
            human = np.array([stamp for stamp, source, _ in probe.steps if source == Source.HUMAN])
        finally:
            bench.close()
    if len(stamps) < 10 or not len(human):
        raise RuntimeError(
            "the executor commanded no steps; inspect the graph with `rlt-ros graph` during the benchmark"
        )
    bare = stop_bare_timer()
    error = np.abs(np.diff(stamps) - period) * 1e-6
    missed = [span for part in (stamps, taken_over) for span in _gaps(part, 2 * period)]
    waited = [float(human[human >= when].min() - when) * 1e-6 for when in pressed if (human >= when).any()]
    return {
        "period_error_ms": _spread(error),
        "bare_timer_error_ms": _spread(np.abs(np.diff(bare.ticks) - period) * 1e-6),
        "missed_periods": len(missed),
        "missed_by_bare_timer": sum(bool(bare.missed(*span)) for span in missed),
        "stick_to_command_ms": _spread(waited),
        "take_overs": len(waited),
    }


def _gaps(stamps: Any, longest: float) -> list[tuple[int, int]]:
    """Pairs of successive stamps, ns, further apart than ``longest``."""
    wide = np.flatnonzero(np.diff(stamps) > longest)
    return [(int(stamps[i]), int(stamps[i + 1])) for i in wide]


def _lock_step() -> dict[str, float]:
    from rlt_ros.bench.latency_probe import LatencyBench

    profile = load_profile(ROBOT)
    # The probe has its own clock; perception must not drop its stamps as stale.
    lenient = {"max_age": 3600.0 * 24 * 365 * 100}
    with _nodes(executor_node={"lock_step": True}, perception_node=lenient) as alive:
        bench = LatencyBench(profile, _home(profile))
        try:
            bench.wait_for_nodes("robot", "camera", "chunks", alive=alive)
            bench.probe.publish_phase(Phase.RESETTING, 1)
            bench.probe.publish_phase(Phase.APPROACH, 1)
            return _spread(bench.lock_step(_LOCK_STEPS, alive)[10:])
        finally:
            bench.close()


def _pad(probe: Any, held: bool, _: int) -> None:
    probe.publish_gamepad(held=held)


def _home(profile: Any) -> np.ndarray[Any, np.dtype[np.float64]]:
    limits = profile.limits()
    return np.asarray(
        (limits.lower + limits.upper) / 2 if profile.home is None else profile.home, dtype=np.float64
    )


def _spread(values: Any) -> dict[str, float]:
    return {
        "median": float(np.median(values)),
        "p99": float(np.percentile(values, 99)),
        "max": float(np.max(values)),
    }


@contextmanager
def _nodes(**parameters: dict[str, Any]) -> Iterator[Any]:
    """Start nodes as processes; yield a function that returns whether all are alive."""
    processes = []
    try:
        for name, values in parameters.items():
            arguments = [
                text for key, value in values.items() for text in ("-p", f"{key}:={json.dumps(value)}")
            ]
            command = [
                sys.executable,
                "-m",
                f"rlt_ros.nodes.{name}",
                "--ros-args",
                "--log-level",
                "warn",
                *arguments,
            ]
            processes.append(subprocess.Popen(command))
        yield lambda: all(process.poll() is None for process in processes)
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            try:
                process.wait(5.0)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@contextmanager
def _busy(count: int) -> Iterator[None]:
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_spin, daemon=True) for _ in range(count)]
    for process in processes:
        process.start()
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.join()


def _spin() -> None:
    """Keep a core busy, like a learner."""
    values = np.random.default_rng(0).standard_normal((256, 256))
    while True:
        values = np.tanh(values @ values.T / 16.0)
