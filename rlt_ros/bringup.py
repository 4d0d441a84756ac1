"""Which nodes make up the graph for a robot, a task and a mode: the one description of it.

It has two readers: ``rlt-ros launch`` (`rlt_ros.cli.launch`, plain processes) and ``ros2 launch``
(`rlt_ros.bringup_launch`, `launch/*.launch.py`). Neither adds a node, a parameter or a remapping of its own.
"""

from __future__ import annotations

import json
import typing
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from rlt_ros.rlt.parameters import ConfigError, check, did_you_mean, parameter
from rlt_ros.run_id import new_run_id
from rlt_ros.rviz_config import rviz_config, rviz_file

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

ORDER = tuple(
    f"{name}_node"
    for name in (
        "perception",
        "inference",
        "executor",
        "episode",
        "teleop",
        "replay",
        "bag",
        "learner",
        "monitor",
        "record",
        "sim",
    )
)
"""All nodes of this package, along the way of the data."""

MISCONFIGURED = 2
"""Exit status of a node that says starting it again would not help."""

_SHARED_TOPICS = ("rlt/policy_update", "rlt/replay_status", "rlt/learner_status")
"""Topics of the replay and the learner, which all robots share."""

_DEVICES = ("joy", "spacenav", "keyboard")
_DRIVERS = {"joy": ("joy", "game_controller_node"), "spacenav": ("spacenav", "spacenav_node")}
"""Device → package and executable of its ROS driver."""

_GIVES_UP_WITHOUT = frozenset(
    {"sim_node", "perception_node", "inference_node", "executor_node", "episode_node"}
)
"""Nodes without which no robot moves: when one cannot be kept alive, the whole graph stops."""


@dataclass(frozen=True)
class Arguments:
    """What may be said about a graph; the arguments of every launch file and options of ``rlt-ros launch``."""

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
        "KIND:WHERE[@CARD.yaml] with the kinds transformers, lerobot, openpi and go1.",
    )
    sim: bool = parameter(
        True, help="Start the simulated robot; false where a real one is there, or Genie Sim."
    )
    lock_step: bool = parameter(
        True,
        help="The simulator waits for every command, so that a slow computer changes nothing but the duration; false "
        "runs in real time.",
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
        """Whether time comes from `/clock`."""
        return self.sim if self.use_sim_time == "auto" else self.use_sim_time == "true"


@dataclass(frozen=True)
class NodeSpec:
    """One process of the graph.

    Attributes:
        package: ROS package; nodes of ``rlt_ros`` run without ROS 2 too, as ``python -m rlt_ros.nodes.EXECUTABLE``.
        executable: what ``ros2 run PACKAGE`` is told.
        name: of the node.
        namespace: without slashes at the ends; empty for the root.
        parameters: values that replace the node's defaults.
        params_file: ROS parameter file that ``parameters`` win over; empty for none.
        remappings: (old, new) topic names.
        arguments: command line before the ROS arguments.
        restart: start it again when it dies.
        critical: stop the graph when it is gone for good.
        ends_graph: stop the graph when it, and every other one of which this is true, is finished.
        keys: it reads the keys of the terminal.
        files: path → text of the files that it reads, which are made at launch.
    """

    executable: str
    name: str
    package: str = "rlt_ros"
    namespace: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    params_file: str = ""
    remappings: tuple[tuple[str, str], ...] = ()
    arguments: tuple[str, ...] = ()
    restart: bool = True
    critical: bool = False
    ends_graph: bool = False
    keys: bool = False
    files: Mapping[str, str] = field(default_factory=dict)

    def write_files(self) -> None:
        """Write the files that the process reads, before it is started."""
        for name, text in self.files.items():
            path = Path(name)
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")

    @property
    def label(self) -> str:
        """Short and unique in the graph, for people."""
        short = self.name.removesuffix("_node")
        return f"{self.namespace}/{short}" if self.namespace else short

    @property
    def full_name(self) -> str:
        """Name of the node with its namespace."""
        return f"/{self.namespace}/{self.name}" if self.namespace else f"/{self.name}"

    def command_line(self) -> list[str]:
        """What follows the name of the program."""
        rules = [*self.remappings, *([("__ns", f"/{self.namespace}")] if self.namespace else [])]
        words = [item for old, new in (("__node", self.name), *rules) for item in ("-r", f"{old}:={new}")]
        if self.params_file:
            words += ["--params-file", self.params_file]
        # JSON is YAML too, and leaves no doubt about what is text.
        for name, value in self.parameters.items():
            words += ["-p", f"{name}:={json.dumps(value)}"]
        return [*self.arguments, "--ros-args", *words]


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


def simulates(specs: Sequence[NodeSpec]) -> bool:
    """Whether a simulated robot is among the nodes."""
    return any(spec.executable == "sim_node" for spec in specs)


def graph(mode: str, arguments: Arguments, *, ros: bool | None = None) -> list[NodeSpec]:
    """The nodes of a mode, in the order in which they are started.

    Args:
        mode: of `MODES`.
        arguments: of the launch.
        ros: whether ROS 2 starts them; None finds out.

    Raises:
        ConfigError: no such mode, or arguments that do not go together.
    """
    if mode not in MODES:
        raise ConfigError(f"no mode `{mode}`; there are {', '.join(MODES)}")
    _check(mode, arguments)
    if mode == "monitor" and arguments.use_sim_time == "auto":
        arguments = replace(arguments, use_sim_time="false")  # the graph may be a real robot's
    specs = [spec for build in _BUILDERS[mode] for spec in build(mode, arguments)]
    drivers = {package for package, _ in _DRIVERS.values()}
    if not any(spec.package in drivers for spec in specs) or (_on_rclpy() if ros is None else ros):
        return specs
    return [spec for spec in specs if spec.package not in drivers]


def stop_order(specs: list[NodeSpec]) -> list[NodeSpec]:
    """The nodes in the order in which they are stopped: who moves the arm first, who keeps the data late."""
    order = ("episode", "teleop", "executor", "inference", "perception", "learner", "replay", "bag", "record")
    rank = {f"{name}_node": index for index, name in enumerate(order)}
    return sorted(specs, key=lambda spec: rank.get(spec.executable, len(order)))


def _check(mode: str, arguments: Arguments) -> None:
    names = arguments.namespaces
    if len(set(names)) != len(names) or (len(names) > 1 and "" in names):
        raise ConfigError(f"namespace is `{arguments.namespace}`; several robots need names, each its own")
    if arguments.teleop == "scripted" and not arguments.sim:
        raise ConfigError(
            "teleop is `scripted`, which knows the simulator only; set sim to true or choose a device"
        )
    if arguments.teleop == "keyboard" and len(names) > 1:
        raise ConfigError(
            "teleop is `keyboard`, and there is one for several robots; choose a device for each"
        )
    if (mode == "offline") != bool(arguments.bag):
        what = (
            "is empty; name the bags to learn from"
            if mode == "offline"
            else f"is `{arguments.bag}`; leave it out"
        )
        raise ConfigError(f"bag {what}. Only the mode offline reads bags")
    if arguments.params_file and not Path(arguments.params_file).is_file():
        raise ConfigError(f"params_file `{arguments.params_file}` is not there; check the path")


def _robots(mode: str, arguments: Arguments) -> Iterator[NodeSpec]:
    """What each robot has for itself, those of one robot after those of the other."""
    episodes = _episodes_folder(mode, arguments)
    for index, namespace in enumerate(arguments.namespaces):
        if arguments.sim:
            yield _sim_node(mode, arguments, namespace)
        lock_step = arguments.sim and arguments.lock_step
        # In lock-step nothing can be late; asking for a priority that few systems grant would only alarm.
        punctual: dict[str, Any] = {"realtime_priority": 0} if lock_step else {}
        yield _robot_node(arguments, "perception", namespace, **punctual)
        yield _robot_node(arguments, "inference", namespace, **_policy(mode, arguments))
        # On a real arm nobody but a human lets commands flow again after a crash.
        yield _robot_node(
            arguments, "executor", namespace, restart=arguments.sim, lock_step=lock_step, **punctual
        )
        yield _robot_node(
            arguments,
            "episode",
            namespace,
            ends_graph=True,
            # Each robot has episodes of its own; with one robot they are where the report looks for them.
            out=str(episodes / namespace) if len(arguments.namespaces) > 1 else str(episodes),
            seed=arguments.seed + index,
            plan=_plan(mode, arguments),
            **_reset(arguments),
        )
        if arguments.teleop in _DEVICES:
            yield from _teleop(arguments, namespace)


def _reset(arguments: Arguments) -> dict[str, Any]:
    """The simulator draws where an episode begins, round the place where a real arm would be put."""
    return {"reset_tolerance": 0.0} if arguments.sim else {}


def _sim(mode: str, arguments: Arguments) -> Iterator[NodeSpec]:
    return (_sim_node(mode, arguments, namespace) for namespace in arguments.namespaces)


def _sim_node(mode: str, arguments: Arguments, namespace: str) -> NodeSpec:
    scripted = arguments.teleop == "scripted" or (arguments.teleop == "auto" and mode == "train")
    operator = "scripted" if scripted else "none"
    return _robot_node(arguments, "sim", namespace, lock_step=arguments.lock_step, operator=operator)


def _teleop(arguments: Arguments, namespace: str) -> Iterator[NodeSpec]:
    device = arguments.teleop
    yield _robot_node(arguments, "teleop", namespace, keys=device == "keyboard", device=device)
    if device in _DRIVERS:
        package, executable = _DRIVERS[device]
        yield NodeSpec(executable, executable, package=package, namespace=namespace)


def _on_rclpy() -> bool:
    """Whether nodes run on ROS 2, whose drivers then read the devices; without it, teleop_node does."""
    # Imported here: where ROS 2 is sourced for another Python, this import fails, and help must work all the same.
    from rlt_ros.middleware.choice import IMPLEMENTATION

    return IMPLEMENTATION == "rclpy"


def _learning(mode: str, arguments: Arguments) -> Iterator[NodeSpec]:
    yield from _replay(mode, arguments)
    yield _shared_node(arguments, "learner", critical=True, seed=arguments.seed)


def _replay(mode: str, arguments: Arguments) -> Iterator[NodeSpec]:
    yield _shared_node(arguments, "replay", critical=True, robots=list(arguments.namespaces))


def _offline(mode: str, arguments: Arguments) -> Iterator[NodeSpec]:
    """No robot, and no clock but the wall's. Read again from the beginning, a bag adds only what is missing."""
    bags = [bag.strip() for bag in arguments.bag.split(",") if bag.strip()]
    names: dict[str, Any] = {"namespace": arguments.namespace} if arguments.namespace else {}
    yield _shared_node(arguments, "bag", use_sim_time=False, ends_graph=True, bags=bags, **names)
    yield _shared_node(arguments, "learner", critical=True, use_sim_time=False, seed=arguments.seed)


def _views(mode: str, arguments: Arguments) -> Iterator[NodeSpec]:
    for namespace in arguments.namespaces:
        yield _robot_node(arguments, "monitor", namespace)
        if arguments.rviz:
            text = rviz_config(arguments.robot, namespace)
            path = rviz_file(text)
            yield NodeSpec(
                package="rviz2",
                executable="rviz2",
                name="rviz",
                namespace=namespace,
                parameters={"use_sim_time": arguments.simulated_time},
                arguments=("-d", str(path)),
                remappings=_clock(arguments, namespace),
                restart=False,
                files={str(path): text},
            )


def _record(mode: str, arguments: Arguments) -> Iterator[NodeSpec]:
    if arguments.record:
        yield _shared_node(arguments, "record", robots=list(arguments.namespaces))


_BUILDERS = {
    "train": (_robots, _learning, _record, _views),
    "deploy": (_robots, _record, _views),
    "collect": (_robots, _replay, _record, _views),
    "offline": (_offline,),
    "monitor": (_views,),
    "sim": (_sim,),
}


def _plan(mode: str, arguments: Arguments) -> list[str]:
    if mode == "train":
        evaluations = arguments.eval_episodes
        train = f"train:{arguments.robot_minutes:g}min"
        return [f"eval_base:{evaluations}", train, f"eval_rlt:{evaluations}"] if evaluations else [train]
    phase = "eval_rlt" if mode == "deploy" else "warmup"
    return [f"{phase}:{arguments.episodes}"]


def _episodes_folder(mode: str, arguments: Arguments) -> Path:
    """Where the episodes are written down: a deployment begins anew each time, all else goes on."""
    out = Path(arguments.out)
    if mode != "deploy":
        return out
    from rlt_ros.rlt.run_folder import DEPLOY_FOLDER, unused  # not before: as below

    return unused(out / DEPLOY_FOLDER)


def _policy(mode: str, arguments: Arguments) -> dict[str, Any]:
    """In deployment the policy comes from the run's checkpoint, since no learner publishes one."""
    if mode != "deploy":
        return {}
    from rlt_ros.rlt.run_folder import CHECKPOINT_FILE  # not before: it loads torch, and help must be quick

    return {"policy": str(Path(arguments.out) / CHECKPOINT_FILE)}


def _common(arguments: Arguments) -> dict[str, Any]:
    run = {"run_id": arguments.run_id} if arguments.run_id else {}
    return {"robot": arguments.robot, "task": arguments.task, "vla": arguments.vla, **run}


def _robot_node(
    arguments: Arguments,
    short: str,
    namespace: str,
    *,
    restart: bool = True,
    ends_graph: bool = False,
    keys: bool = False,
    **parameters: Any,
) -> NodeSpec:
    """A node of one robot; in a namespace, what the robots share is looked for outside it."""
    executable = f"{short}_node"
    shared = tuple((topic, f"/{topic}") for topic in _SHARED_TOPICS) if namespace else ()
    remappings = shared + _clock(arguments, namespace)
    return NodeSpec(
        executable=executable,
        name=executable,
        namespace=namespace,
        parameters={**_common(arguments), "use_sim_time": arguments.simulated_time, **parameters},
        params_file=arguments.params_file,
        remappings=remappings,
        restart=restart,
        critical=executable in _GIVES_UP_WITHOUT,
        ends_graph=ends_graph,
        keys=keys,
    )


def _clock(arguments: Arguments, namespace: str) -> tuple[tuple[str, str], ...]:
    """Remapping of `/clock`: two simulators have two clocks."""
    if len(arguments.namespaces) > 1 and arguments.simulated_time:
        return (("/clock", f"/{namespace}/clock"),)
    return ()


def _shared_node(
    arguments: Arguments, short: str, *, critical: bool = False, ends_graph: bool = False, **parameters: Any
) -> NodeSpec:
    """A node that all robots share, in the root namespace. Its time is the wall's where the robots' clocks differ."""
    one_clock = arguments.simulated_time and len(arguments.namespaces) == 1
    return NodeSpec(
        executable=f"{short}_node",
        name=f"{short}_node",
        parameters={**_common(arguments), "use_sim_time": one_clock, "out": arguments.out, **parameters},
        params_file=arguments.params_file,
        critical=critical,
        ends_graph=ends_graph,
    )


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
