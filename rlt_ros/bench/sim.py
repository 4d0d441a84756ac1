"""`rlt-ros bench sim`: speed of the simulator on one core in multiples of real time, with and without images."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from rlt_ros.sim.demonstrator import Demonstrator
from rlt_ros.sim.tasks import TASKS
from rlt_ros.sim.workcell import HZ, Workcell

# Control steps between two images of all cameras, as in RLT's windows.
_STRIDE = 2


def run(*, seconds: float = 3.0) -> dict[str, Any]:
    """Measure every task for `seconds` per figure; factors are multiples of the robot's 50 control steps per second."""
    results = {name: _measure(name, seconds) for name in TASKS}
    slowest = min(figures["real_time_factor_with_images"] for figures in results.values())
    return {"control_hz": HZ, "image_stride": _STRIDE, "tasks": results, "real_time_factor": slowest}


def _measure(name: str, seconds: float) -> dict[str, float]:
    workcell = Workcell(TASKS[name])
    try:
        physics = _steps_per_second(workcell, seconds, lambda step: None)
        with_images = _steps_per_second(
            workcell, seconds, lambda step: workcell.observe() if step % _STRIDE == 0 else None
        )
    finally:
        workcell.close()
    return {
        "steps_per_s": physics,
        "steps_per_s_with_images": with_images,
        "real_time_factor": physics / HZ,
        "real_time_factor_with_images": with_images / HZ,
    }


def _steps_per_second(workcell: Workcell, seconds: float, observe: Callable[[int], object]) -> float:
    """Control steps per second of a working demonstrator, with contact; its own computation is not counted."""
    spent, steps, seed = 0.0, 0, 0
    while spent < seconds:
        seed += 1
        workcell.reset(seed)
        human = Demonstrator(workcell, seed)
        mated = False
        while not mated and spent < seconds:
            command, _ = human.command()
            start = time.perf_counter()
            observe(steps)
            mated = workcell.step(command)
            spent += time.perf_counter() - start
            steps += 1
    return steps / spent
