"""Checks of a launch's arguments before any node starts: for ``rlt-ros launch``, ``rlt-ros train`` and launch files.

Launch files run on the system's Python, so this needs the standard library and PyYAML alone; robot profiles are fully
checked only where NumPy can be imported. The checks write, load and connect nothing.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import re
from pathlib import Path
from typing import Any

from rlt_ros.bringup import MODES, Arguments, graph
from rlt_ros.episodes.plan import EVALUATION_SEED, SEEDS_PER_RUN
from rlt_ros.episodes.tasks import load_task
from rlt_ros.learning.run_folder import CHECKPOINT_FILE, CONFIG_FILE, CONFIG_KEYS, read_config
from rlt_ros.rlt.config import RLTConfig
from rlt_ros.share import require_yaml_file
from rlt_ros.sim import SCENES
from rlt_ros.store.parameter_file import read_parameters, values_for
from rlt_ros.store.parameters import ConfigError, build, did_you_mean, nested
from rlt_ros.store.run_lock import require_free
from rlt_ros.vla.address import parse_address
from rlt_ros.vla.weights import require_weights

WRITING_MODES = frozenset({"train", "collect", "offline"})
"""Modes that write into the folder of the run and therefore lock it."""

MOST_SEEDS = EVALUATION_SEED // SEEDS_PER_RUN
"""Exclusive upper bound of a run's seeds; larger ones are those of evaluation episodes."""

_ACTING_MODES = frozenset({"train", "collect", "deploy"})
"""Modes in which the VLA acts, with the RL token of the task."""
_ROBOT_MODES = _ACTING_MODES | {"sim"}
_ROS_NAME = re.compile(r"^[A-Za-z_][A-Za-z0-9_]*(/[A-Za-z_][A-Za-z0-9_]*)*$")
_MAX_DOMAIN = 232
"""Largest domain of the UDP port mapping, DDSI-RTPS 2.3, section 9.6.1."""


def check_arguments(mode: str, arguments: Arguments, *, one_process: bool = False) -> None:
    """Check the arguments of a launch before any node starts.

    Args:
        mode: mode, one of `rlt_ros.bringup.MODES`.
        arguments: arguments of the launch.
        one_process: True for a run of ``rlt-ros train``, which checks its settings itself.

    Raises:
        ConfigError, StorageError: the first fault, in one sentence with thing, value and remedy.
    """
    if mode not in MODES:
        raise ConfigError(f"no mode `{mode}`; {did_you_mean(mode, MODES)}there are {', '.join(MODES)}")
    _check_domain()
    _check_robot(mode, arguments)
    _check_task(mode, arguments)
    _check_namespaces(arguments)
    if mode in _ACTING_MODES:
        require_weights(arguments.vla, load_task(arguments.task).name, arguments.robot)
    elif mode == "offline":
        parse_address(arguments.vla)
    if mode == "train":
        _check_budget(arguments)
    if arguments.params_file:
        _check_parameter_file(mode, arguments)
    if mode == "offline":
        _check_bags(arguments)
    if mode in WRITING_MODES or mode == "deploy":
        _check_out(mode, arguments)
    if mode in ("train", "offline"):
        _check_same_run(arguments, one_process)


def _check_parameter_file(mode: str, arguments: Arguments) -> None:
    """Check structure, names and values of a launch's ROS parameter file."""
    path = Path(arguments.params_file).expanduser()
    assignments = read_parameters(path)
    with contextlib.suppress(ModuleNotFoundError):  # as for the robot
        from rlt_ros.ros.parameter_check import check_parameters

        check_parameters(path, assignments, graph(mode, arguments, ros=False))


def _check_domain() -> None:
    domain = os.environ.get("ROS_DOMAIN_ID", "").strip() or "0"
    if not domain.isdecimal() or int(domain) > _MAX_DOMAIN:
        raise ConfigError(f"ROS_DOMAIN_ID is `{domain}`; it must be 0 to {_MAX_DOMAIN}")


def _check_robot(mode: str, arguments: Arguments) -> None:
    """Check the profile of the robot, and of its simulation."""
    require_yaml_file("robots", "robot", arguments.robot)
    # Launch files may run without NumPy or Pinocchio; then only the nodes make these checks.
    with contextlib.suppress(ModuleNotFoundError):
        from rlt_ros.robots.profile import load_profile

        profile = load_profile(arguments.robot)
        if arguments.sim and mode in _ROBOT_MODES:
            from rlt_ros.sim.station import station

            station(profile)


def _check_task(mode: str, arguments: Arguments) -> None:
    task = load_task(arguments.task)
    if arguments.sim and mode in _ROBOT_MODES and task.name not in SCENES:
        raise ConfigError(
            f"task `{task.name}`: the simulator has scenes for {', '.join(SCENES)} only; use one of these, or give "
            "`sim` false for a real robot"
        )


def _check_namespaces(arguments: Arguments) -> None:
    for name in arguments.namespaces:
        if name and not _ROS_NAME.match(name):
            raise ConfigError(
                f"namespace is `{arguments.namespace}`; use letters, digits and _, with no digit first"
            )


def _check_budget(arguments: Arguments) -> None:
    last = arguments.seed + len(arguments.namespaces) - 1
    if last >= MOST_SEEDS:
        raise ConfigError(
            f"seed is {arguments.seed}; it must be 0 to {MOST_SEEDS - len(arguments.namespaces)}"
        )
    if not arguments.robot_minutes and arguments.eval_episodes:
        raise ConfigError(
            "robot_minutes is 0, which trains without end and without an evaluation; give minutes, or eval_episodes 0"
        )


def _check_bags(arguments: Arguments) -> None:
    for name in filter(None, (bag.strip() for bag in arguments.bag.split(","))):
        if not Path(name).expanduser().exists():
            raise ConfigError(f"bag `{name}` is missing; check the path")


def _check_out(mode: str, arguments: Arguments) -> None:
    """Check that the folder of the run is writable or can be created, and is not in use."""
    if not arguments.out.strip():
        raise ConfigError("out is empty; give the folder of the run")
    folder = Path(arguments.out).expanduser()
    if mode == "deploy":
        for name in (CONFIG_FILE, CHECKPOINT_FILE):
            if not (folder / name).is_file():
                raise ConfigError(
                    f"out `{folder}` has no {name}, so there is no policy to deploy; train one first"
                )
    nearest = next(
        path for path in (folder, *folder.absolute().parents) if path.exists() or path.is_symlink()
    )
    if not nearest.is_dir():
        raise ConfigError(f"out `{folder}`: {nearest} is a file, not a folder; choose another path")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise ConfigError(f"out `{folder}`: {nearest} is not writable; choose another folder")
    if mode in WRITING_MODES:
        require_free(folder)


def _check_same_run(arguments: Arguments, one_process: bool) -> None:
    """Check that a continued run keeps robot, task, VLA, seed and the method's settings."""
    folder = Path(arguments.out).expanduser()
    if not (folder / CONFIG_FILE).is_file():
        return
    there = read_config(folder)
    run = there.get("run", {})
    if "robot" in run:
        there["robot"] = run["robot"]
    asked: dict[str, Any] = {
        "task": load_task(arguments.task).name,
        "seed": arguments.seed,
        "vla": arguments.vla,
        "robot": arguments.robot,
    }
    for name, value in asked.items():
        if name in there and there[name] != value:
            raise ConfigError(
                f"out `{folder}` holds a run with {name} `{there[name]}`, not `{value}`; choose another folder, or "
                f"give that {name} to continue it"
            )
    read_config(folder, tuple(CONFIG_KEYS))
    if one_process:
        return
    if set(run) != {"robot"}:
        raise ConfigError(
            f"out `{folder}` holds a run of `rlt-ros train`; choose another folder, or continue it with that command"
        )
    method = json.loads(json.dumps(dataclasses.asdict(_method(arguments))))
    if different := [name for name in method if there["rlt"].get(name) != method[name]]:
        raise ConfigError(
            f"out `{folder}` holds a run with other settings ({', '.join(f'rlt.{name}' for name in different)}); "
            "choose another folder, or give the params_file with which it was started"
        )


def _method(arguments: Arguments) -> RLTConfig:
    """Settings of the method for the learner node."""
    if not arguments.params_file:
        return RLTConfig()
    path = Path(arguments.params_file).expanduser()
    given = values_for(read_parameters(path), "/learner_node")
    section = {name.removeprefix("rlt."): value for name, value in given.items() if name.startswith("rlt.")}
    return build(RLTConfig, nested(section), origin=f"{path}: rlt")
