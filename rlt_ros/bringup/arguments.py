"""Arguments of a launch: the modes, and the options that every launch file and ``rlt-ros launch`` have."""

from __future__ import annotations

import typing
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from rlt_ros.rlt.parameters import ConfigError, check, did_you_mean, parameter
from rlt_ros.run_id import new_run_id

MODES: Mapping[str, str] = {
    "train": "learn a task online: base evaluation, warm-up, RL in the critical phase, evaluation",
    "deploy": "let a learned policy act, without learning and without storing",
    "collect": "let the frozen VLA act and store its episodes, and what a human does",
    "offline": "learn from recorded bags, without a robot",
    "monitor": "watch a graph that is running",
    "sim": "the simulated robot alone, behind the same topics as the real one",
}
"""Mode → what it is for."""

WITHOUT_RUN = ("monitor", "sim")
"""Modes whose nodes follow every run: views of a graph, and a robot that other launches use."""


@dataclass(frozen=True)
class Arguments:
    """Arguments of a launch: of every launch file, and options of ``rlt-ros launch``."""

    robot: str = parameter(
        "agibot_g1_geniesim", help="Robot profile: a name from `config/robots/`, or a YAML file's path."
    )
    task: str = parameter(
        "charger",
        help="Task to do: a name from `config/tasks/`, or a YAML file's path. The VLA needs an RL token of its name, "
        "and the simulator a scene.",
    )
    vla: str = parameter(
        "builtin",
        help="Frozen VLA and RL token: `builtin` for those that ship for the robot, a folder of weights, or "
        "KIND:LOCATION[@ADAPTER.yaml] with the kinds transformers, lerobot, openpi and go1.",
    )
    sim: bool = parameter(
        True, help="Start the simulated robot; false where a real one is there, or Genie Sim."
    )
    lock_step: bool = parameter(
        True,
        help="The simulator waits for every command, so that a slow computer changes nothing but the duration; false "
        "runs in real time, as the mode sim always does.",
    )
    namespace: str = parameter(
        "", help="Namespace of the robot; several, with commas between, are robots that share one learner."
    )
    use_sim_time: str = parameter(
        "auto",
        help="Take the time from `/clock`; `auto` does it where `sim` is true, except in the mode monitor.",
        choices=("auto", "true", "false"),
    )
    params_file: str = parameter("", help="ROS parameter file with values that replace the defaults.")
    rviz: bool = parameter(
        False, help="Start RViz with a view of the arm, the chunks and the cameras. Needs ROS 2."
    )
    teleop: str = parameter(
        "auto",
        help="Device of the human at hand; `scripted` is a simulated one that helps where progress stalls, and `auto` "
        "takes it when a simulated robot learns.",
        choices=("auto", "none", "joy", "spacenav", "keyboard", "scripted"),
    )
    record: bool = parameter(False, help="Record the graph's topics into `OUT/bag`.")
    bag: str = parameter("", help="Bags to learn from offline; several with commas between.")
    run_id: str = parameter(
        "",
        help="Id of the run, which its nodes' messages carry; those of another run are dropped. Empty makes one, "
        "except for `sim` and `monitor`, which follow every run.",
    )
    out: str = parameter(
        "runs/graph", help="Folder of the run: replay, checkpoints, episodes. Made if missing."
    )
    seed: int = parameter(0, help="Of everything random.", low=0)
    robot_minutes: float = parameter(
        9.0, help="Robot time to spend in the critical phase when training.", unit="minutes", low=0.0
    )
    eval_episodes: int = parameter(
        100, help="Episodes of each evaluation before and after training.", unit="episodes", low=0
    )
    episodes: int = parameter(
        0, help="Episodes to deploy or collect; 0 goes on until it is stopped.", unit="episodes", low=0
    )

    def __post_init__(self) -> None:
        check(self)

    @property
    def namespaces(self) -> tuple[str, ...]:
        """Namespace of each robot, without slashes at the ends."""
        return tuple(name.strip().strip("/") for name in self.namespace.split(","))

    @property
    def simulated_time(self) -> bool:
        """Return whether time comes from `/clock`."""
        return self.sim if self.use_sim_time == "auto" else self.use_sim_time == "true"


def from_text(values: Mapping[str, str], *, origin: str) -> Arguments:
    """Arguments from a command line, where every value is text.

    Raises:
        ConfigError: a name is unknown, or a value does not fit.
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
    """A value as a command line has it; what :func:`from_text` reads."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def with_run(mode: str, arguments: Arguments) -> Arguments:
    """The arguments with a new run id, where the mode makes a run and none was chosen."""
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
        wanted = {bool: "true or false", int: "a whole number", float: "a number"}[kind]
        raise ConfigError(f"`{name}` is `{text}`; it must be {wanted}") from None
