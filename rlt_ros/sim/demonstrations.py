"""Recording of scripted demonstrations: one file per episode, several processes, resumable."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from functools import cache, partial
from pathlib import Path

import numpy as np

from rlt_ros.data.demonstrations import Demonstration, file_name, save
from rlt_ros.robots.profile import DEFAULT_ROBOT, load_profile
from rlt_ros.sim.demonstrator import Demonstrator
from rlt_ros.sim.station import station
from rlt_ros.sim.tasks import TASKS
from rlt_ros.sim.workcell import HZ, Start, Workcell

IMAGE_STRIDE = 2
"""Control steps between two images."""
EPISODE_STEPS = 900
"""Control steps, 18 s, after which a demonstration ends without success."""
ASTRAY_EVERY = 3
"""One in as many episodes starts at the end of a failed attempt, so that a policy learns to recover."""
LINGER_STEPS = 15
"""Control steps recorded after success, so that a policy learns to stay."""


def demonstrate(workcell: Workcell, seed: int, *, image_stride: int = IMAGE_STRIDE) -> Demonstration:
    """Record one episode of the demonstrator under the conditions of `seed`."""
    task = workcell.task
    workcell.reset(seed, Start.ASTRAY if seed % ASTRAY_EVERY == 0 else Start.APPROACH)
    human = Demonstrator(workcell, seed)
    positions, velocities, commands, privileged, frames, frame_steps = [], [], [], [], [], []
    done_since = None
    for step in range(EPISODE_STEPS):
        has_images = step % image_stride == 0
        observation = workcell.observe(images=has_images)
        sent, intended = human.command()
        positions.append(observation.position)
        velocities.append(observation.velocity)
        commands.append(intended)
        privileged.append(workcell.relative)
        if has_images:
            frames.append(observation.images)
            frame_steps.append(step)
        mated = workcell.step(sent)
        if mated and done_since is None:
            done_since = step
        if done_since is not None and step - done_since >= LINGER_STEPS:
            break
    return Demonstration(
        task=task.name,
        instruction=task.instruction,
        seed=seed,
        hz=HZ,
        success=done_since is not None,
        position=np.array(positions, np.float32),
        velocity=np.array(velocities, np.float32),
        command=np.array(commands, np.float32),
        images={camera: np.stack([frame[camera] for frame in frames]) for camera in frames[0]},
        image_steps=np.array(frame_steps, np.int32),
        privileged=np.array(privileged, np.float32),
    )


def record(
    task: str,
    seeds: Iterable[int],
    folder: Path,
    *,
    robot: str | Path = DEFAULT_ROBOT,
    workers: int = 1,
    progress: Callable[[], None] | None = None,
) -> int:
    """Record the seeds that `folder` lacks, in `workers` processes, and return their number.

    `robot` is a profile with a section `simulation`. `progress` is called once per demonstration. An interrupted
    recording resumes.
    """
    missing = [seed for seed in seeds if not (folder / file_name(task, seed)).exists()]
    # Spawned, because an OpenGL context does not survive a fork.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        for _ in pool.map(partial(_record_one, task, folder, robot), missing):
            if progress:
                progress()
    return len(missing)


@cache
def _workcell(task: str, robot: str | Path) -> Workcell:
    """Workcell per process, task and robot: building one costs more than an episode."""
    return Workcell(TASKS[task], station(load_profile(robot)))


def _record_one(task: str, folder: Path, robot: str | Path, seed: int) -> None:
    save(demonstrate(_workcell(task, robot), seed), folder)
