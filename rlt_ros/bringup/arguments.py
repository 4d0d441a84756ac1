"""Modes of a launch, and the arguments of every launch file and of ``rlt-ros launch``."""

from __future__ import annotations

import typing
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from rlt_ros.run_id import new_run_id
from rlt_ros.store.parameters import ConfigError, check, did_you_mean, parameter

MODES: Mapping[str, str] = {
    "train": "learn a task online: base evaluation, warm-up, RL in the critical phase, evaluation",
    "deploy": "execute a learned policy, without learning and without storing",
    "collect": "execute the frozen VLA; store its episodes and the interventions of a human",
    "offline": "learn from recorded bags, without a robot",
    "monitor": "watch a running graph",
    "sim": "the simulated robot alone, with the topics of the real one",
}
"""Mode → its purpose."""

WITHOUT_RUN = ("monitor", "sim")
"""Modes without a run of their own: their nodes accept messages of every run."""


@dataclass(frozen=True)
class Arguments:
    """Arguments of a launch: of every launch file, and options of ``rlt-ros launch``."""

    robot: str = parameter(
        "agibot_g1_geniesim", help="Robot profile: a name from `config/robots/`, or the path of a YAML file."
    )
    task: str = parameter(
        "charger",
        help="Task: a name from `config/tasks/`, or the path of a YAML file. The VLA needs an RL token, and the "
        "simulator a scene, of this name.",
    )
    vla: str = parameter(
        "builtin",
        help="Frozen VLA and RL token: `builtin` for the shipped ones of the robot, a folder of weights, or "
        "KIND:LOCATION[@ADAPTER.yaml] with the kinds transformers, lerobot, openpi and go1.",
    )
    sim: bool = parameter(True, help="Start the simulated robot; false for a real robot, or Genie Sim.")
    lock_step: bool = parameter(
        True,
        help="Let the simulator wait for every command, so that a slow computer changes only the duration; false runs "
        "in real time, as the mode sim always does.",
    )
    namespace: str = parameter(
        "", help="Namespace of the robot; a list with commas starts several robots with one learner."
    )
    use_sim_time: str = parameter(
        "auto",
        help="Use the time of `/clock`; `auto` is true if `sim` is, except in the mode monitor.",
        choices=("auto", "true", "false"),
    )
    params_file: str = parameter("", help="ROS parameter file with values that replace the defaults.")
    rviz: bool = parameter(
        False, help="Start RViz with a view of the arm, the chunks and the cameras. Needs ROS 2."
    )
    teleop: str = parameter(
        "auto",
        help="Teleoperation device; `scripted` is a simulated human who takes over when progress stalls, and `auto` "
        "selects it when a simulated robot learns.",
        choices=("auto", "none", "joy", "spacenav", "keyboard", "scripted"),
    )
    record: bool = parameter(False, help="Record the graph's topics into `OUT/bag`.")
    bag: str = parameter("", help="Bags to learn from offline; a list with commas.")
    run_id: str = parameter(
        "",
        help="Id of the run in the messages of its nodes; messages of another run are dropped. Empty for a new id, "
        "or, in `sim` and `monitor`, for messages of every run.",
    )
    out: str = parameter(
        "runs/graph", help="Folder of the run: replay, checkpoints, episodes. Created if missing."
    )
    seed: int = parameter(0, help="Seed of all random generators.", low=0)
    robot_minutes: float = parameter(
        9.0, help="Robot time in the critical phase when training.", unit="minutes", low=0.0
    )
    eval_episodes: int = parameter(
        100, help="Episodes of each evaluation before and after training.", unit="episodes", low=0
    )
    episodes: int = parameter(
        0, help="Episodes to deploy or collect; 0 for no limit.", unit="episodes", low=0
    )

    def __post_init__(self) -> None:
        check(self)

    @property
    def namespaces(self) -> tuple[str, ...]:
        """Namespace of each robot, without leading and trailing slashes."""
        return tuple(name.strip().strip("/") for name in self.namespace.split(","))

    @property
    def simulated_time(self) -> bool:
        """Return whether time comes from `/clock`."""
        return self.sim if self.use_sim_time == "auto" else self.use_sim_time == "true"


def from_text(values: Mapping[str, str], *, origin: str) -> Arguments:
    """Arguments from the texts of a command line.

    Raises:
        ConfigError: a name is unknown, or a value is invalid.
    """
    hints = typing.get_type_hints(Arguments)
    unknown = sorted(values.keys() - hints.keys())
    if unknown:
        hint = did_you_mean(unknown[0], hints)
        raise ConfigError(f"{origin}: `{unknown[0]}` is unknown; {hint}allowed: {', '.join(hints)}")
    try:
        return Arguments(**{name: _parsed(name, text, hints[name]) for name, text in values.items()})
    except ConfigError as error:
        raise ConfigError(f"{origin}: {error}") from None


def as_text(value: Any) -> str:
    """Text of a value on a command line; inverse of :func:`from_text`."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def with_run(mode: str, arguments: Arguments) -> Arguments:
    """Arguments with a new run id, if the mode makes a run and the user chose none."""
    if arguments.run_id or mode in WITHOUT_RUN:
        return arguments
    return replace(arguments, run_id=new_run_id())


def _parsed(name: str, text: str, kind: type) -> Any:
    if kind is str:
        return text
    try:
        if kind is bool:
            return {"true": True, "1": True, "false": False, "0": False}[text.lower()]
        return kind(text)
    except (KeyError, ValueError):
        expected = {bool: "true or false", int: "a whole number", float: "a number"}[kind]
        raise ConfigError(f"`{name}` is `{text}`; it must be {expected}") from None
