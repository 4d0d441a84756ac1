"""Nodes of each mode with their parameters and remappings."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from rlt_ros.bringup.arguments import MODES, Arguments
from rlt_ros.bringup.node_spec import NodeSpec
from rlt_ros.bringup.rviz_config import rviz_config, rviz_file
from rlt_ros.store.parameters import ConfigError

_SHARED_TOPICS = ("rlt/policy_update", "rlt/replay_status", "rlt/learner_status")
"""Topics of the replay and the learner, shared by all robots."""

_DEVICES = ("joy", "spacenav", "keyboard")
_DRIVERS = {"joy": ("joy", "game_controller_node"), "spacenav": ("spacenav", "spacenav_node")}
"""Device → package and executable of its ROS driver."""

_CRITICAL_NODES = frozenset(
    {"sim_node", "perception_node", "inference_node", "executor_node", "episode_node"}
)
"""Nodes of a moving robot: the graph stops when one cannot be restarted."""


def graph(mode: str, arguments: Arguments, *, ros: bool | None = None) -> list[NodeSpec]:
    """Nodes of a mode, in the order of their start.

    Args:
        mode: of `MODES`.
        arguments: of the launch.
        ros: ROS 2 starts them; None to detect it.

    Raises:
        ConfigError: the mode is unknown, or arguments contradict each other.
    """
    if mode not in MODES:
        raise ConfigError(f"no mode `{mode}`; known: {', '.join(MODES)}")
    _check(mode, arguments)
    if mode == "monitor" and arguments.use_sim_time == "auto":
        # The graph may belong to a real robot.
        arguments = replace(arguments, use_sim_time="false")
    specs = [spec for build in _BUILDERS[mode] for spec in build(mode, arguments)]
    drivers = {package for package, _ in _DRIVERS.values()}
    if not any(spec.package in drivers for spec in specs) or (_on_rclpy() if ros is None else ros):
        return specs
    return [spec for spec in specs if spec.package not in drivers]


def _check(mode: str, arguments: Arguments) -> None:
    names = arguments.namespaces
    if len(set(names)) != len(names) or (len(names) > 1 and "" in names):
        raise ConfigError(f"namespace is `{arguments.namespace}`; several robots need distinct names")
    if arguments.teleop == "scripted" and not arguments.sim:
        raise ConfigError(
            "teleop is `scripted`, which needs the simulator; set sim to true or choose a device"
        )
    if arguments.teleop == "keyboard" and len(names) > 1:
        raise ConfigError("teleop is `keyboard`, which cannot serve several robots; choose another device")
    if (mode == "offline") != bool(arguments.bag):
        problem = (
            "is empty; name the bags to learn from"
            if mode == "offline"
            else f"is `{arguments.bag}`; leave it out"
        )
        raise ConfigError(f"bag {problem}. Only the mode offline reads bags")
    if arguments.params_file and not Path(arguments.params_file).is_file():
        raise ConfigError(f"params_file `{arguments.params_file}` does not exist; check the path")


def _robots(mode: str, arguments: Arguments) -> Iterator[NodeSpec]:
    """Nodes of each robot in turn."""
    episodes = _episodes_folder(mode, arguments)
    for index, namespace in enumerate(arguments.namespaces):
        if arguments.sim:
            yield _sim_node(mode, arguments, namespace)
        lock_step = arguments.sim and arguments.lock_step
        # In lock-step no node can be late, and a refused real-time priority would only cause a warning.
        priority: dict[str, Any] = {"realtime_priority": 0} if lock_step else {}
        yield _robot_node(arguments, "perception", namespace, **priority)
        yield _robot_node(arguments, "inference", namespace, **_policy(mode, arguments))
        # On a real arm only a human restarts the executor after a crash.
        yield _robot_node(
            arguments, "executor", namespace, restart=arguments.sim, lock_step=lock_step, **priority
        )
        yield _robot_node(
            arguments,
            "episode",
            namespace,
            ends_graph=True,
            # Each robot has its own episodes; those of a single robot are in the folder of the report.
            out=str(episodes / namespace) if len(arguments.namespaces) > 1 else str(episodes),
            seed=arguments.seed + index,
            plan=_plan(mode, arguments),
            needs_replay=mode in ("train", "collect"),
            **_reset(arguments),
        )
        if arguments.teleop in _DEVICES:
            yield from _teleop(arguments, namespace)


def _reset(arguments: Arguments) -> dict[str, Any]:
    """Accept any start of an episode: the simulator draws it around the home of a real arm."""
    return {"reset_tolerance": 0.0} if arguments.sim else {}


def _sim(mode: str, arguments: Arguments) -> Iterator[NodeSpec]:
    return (_sim_node(mode, arguments, namespace) for namespace in arguments.namespaces)


def _sim_node(mode: str, arguments: Arguments, namespace: str) -> NodeSpec:
    scripted = arguments.teleop == "scripted" or (arguments.teleop == "auto" and mode == "train")
    operator = "scripted" if scripted else "none"
    # A graph that joins a running simulator treats it as a real robot, and does not answer in lock-step.
    lock_step = arguments.lock_step and mode != "sim"
    return _robot_node(arguments, "sim", namespace, lock_step=lock_step, operator=operator)


def _teleop(arguments: Arguments, namespace: str) -> Iterator[NodeSpec]:
    device = arguments.teleop
    yield _robot_node(arguments, "teleop", namespace, keys=device == "keyboard", device=device)
    if device in _DRIVERS:
        package, executable = _DRIVERS[device]
        yield NodeSpec(executable, executable, package=package, namespace=namespace)


def _on_rclpy() -> bool:
    """Return whether nodes run on ROS 2 and its drivers read the devices; otherwise teleop_node reads them."""
    # Imported here: with ROS 2 sourced for another Python this import fails, and help must still work.
    from rlt_ros.middleware.choice import IMPLEMENTATION

    return IMPLEMENTATION == "rclpy"


def _learning(mode: str, arguments: Arguments) -> Iterator[NodeSpec]:
    yield from _replay(mode, arguments)
    yield _shared_node(arguments, "learner", critical=True, seed=arguments.seed)


def _replay(mode: str, arguments: Arguments) -> Iterator[NodeSpec]:
    yield _shared_node(arguments, "replay", critical=True, robots=list(arguments.namespaces))


def _offline(mode: str, arguments: Arguments) -> Iterator[NodeSpec]:
    """Nodes without robot and simulated clock; a bag that is read again adds only missing rows."""
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
    """Folder of the episodes: a new one for each deployment, the run's own for every other mode."""
    out = Path(arguments.out)
    if mode != "deploy":
        return out
    # Imported here, as below.
    from rlt_ros.learning.run_folder import DEPLOY_FOLDER, unused

    return unused(out / DEPLOY_FOLDER)


def _policy(mode: str, arguments: Arguments) -> dict[str, Any]:
    """Policy of a deployment, from the run's checkpoint, since no learner publishes one."""
    if mode != "deploy":
        return {}
    # Imported here: it loads torch, and help must be quick.
    from rlt_ros.learning.run_folder import CHECKPOINT_FILE

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
    """Node of one robot; in a namespace, shared topics are remapped to the root."""
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
        critical=executable in _CRITICAL_NODES,
        ends_graph=ends_graph,
        keys=keys,
    )


def _clock(arguments: Arguments, namespace: str) -> tuple[tuple[str, str], ...]:
    """Remapping of `/clock`: several simulators have one clock each."""
    if len(arguments.namespaces) > 1 and arguments.simulated_time:
        return (("/clock", f"/{namespace}/clock"),)
    return ()


def _shared_node(
    arguments: Arguments, short: str, *, critical: bool = False, ends_graph: bool = False, **parameters: Any
) -> NodeSpec:
    """Node of all robots, in the root namespace; on wall time if the robots have several clocks."""
    one_clock = arguments.simulated_time and len(arguments.namespaces) == 1
    return NodeSpec(
        executable=f"{short}_node",
        name=f"{short}_node",
        parameters={**_common(arguments), "use_sim_time": one_clock, "out": arguments.out, **parameters},
        params_file=arguments.params_file,
        critical=critical,
        ends_graph=ends_graph,
    )
