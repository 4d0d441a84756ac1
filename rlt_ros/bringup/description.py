"""Nodes of each mode with their parameters and remappings."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from rlt_ros.bringup.arguments import MODES, Arguments
from rlt_ros.bringup.node_spec import NodeSpec
from rlt_ros.rlt.parameters import ConfigError
from rlt_ros.rviz_config import rviz_config, rviz_file

_SHARED_TOPICS = ("rlt/policy_update", "rlt/replay_status", "rlt/learner_status")
"""Topics of the replay and the learner, which all robots share."""

_DEVICES = ("joy", "spacenav", "keyboard")
_DRIVERS = {"joy": ("joy", "game_controller_node"), "spacenav": ("spacenav", "spacenav_node")}
"""Device → package and executable of its ROS driver."""

_GIVES_UP_WITHOUT = frozenset(
    {"sim_node", "perception_node", "inference_node", "executor_node", "episode_node"}
)
"""Nodes without which no robot moves: when one cannot be kept alive, the whole graph stops."""


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
    """Nodes of each robot, one robot after the other."""
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
    # A graph that joins a simulator later takes it for a real robot, and sends nothing that a lock-step waits for.
    lock_step = arguments.lock_step and mode != "sim"
    return _robot_node(arguments, "sim", namespace, lock_step=lock_step, operator=operator)


def _teleop(arguments: Arguments, namespace: str) -> Iterator[NodeSpec]:
    device = arguments.teleop
    yield _robot_node(arguments, "teleop", namespace, keys=device == "keyboard", device=device)
    if device in _DRIVERS:
        package, executable = _DRIVERS[device]
        yield NodeSpec(executable, executable, package=package, namespace=namespace)


def _on_rclpy() -> bool:
    """Return whether nodes run on ROS 2, whose drivers then read the devices; without it, teleop_node does."""
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
    """Folder of the episodes: each deployment has a new one, every other mode continues its own."""
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
