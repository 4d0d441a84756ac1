from __future__ import annotations

import ast
from pathlib import Path

import pytest

from rlt_ros.bringup import MODES, Arguments, NodeSpec, from_text, graph, stop_order
from rlt_ros.store.parameters import ConfigError

ROOT = Path(__file__).resolve().parents[1]


OFFLINE = {"bag": "runs/a/bag, runs/b/bag"}


def executables(mode: str, **arguments: object) -> list[str]:
    return [spec.executable for spec in graph(mode, Arguments(**arguments))]  # type: ignore[arg-type]


def one(mode: str, executable: str, **arguments: object) -> NodeSpec:
    (spec,) = (s for s in graph(mode, Arguments(**arguments)) if s.executable == executable)  # type: ignore[arg-type]
    return spec


@pytest.mark.parametrize("mode", MODES)
def test_every_node_of_a_mode_is_there(mode: str) -> None:
    needed = OFFLINE if mode == "offline" else {}
    for spec in graph(mode, Arguments(teleop="joy", record=True, **needed)):
        if spec.package == "rlt_ros":
            assert (ROOT / "rlt_ros" / "nodes" / f"{spec.executable}.py").is_file()


@pytest.mark.parametrize("mode", MODES)
def test_every_mode_has_a_thin_launch_file(mode: str) -> None:
    text = (ROOT / "launch" / f"{mode}.launch.py").read_text()
    assert f'description("{mode}")' in text
    names = [node.name for node in ast.parse(text).body if isinstance(node, ast.FunctionDef)]
    assert names == ["generate_launch_description"]


def test_only_modes_that_learn_have_a_learner() -> None:
    assert "learner_node" in executables("train")
    assert "replay_node" in executables("collect")
    assert not {"learner_node", "replay_node"} & set(executables("deploy"))


def test_each_deployment_of_a_run_has_its_own_folder_and_other_modes_continue(tmp_path: Path) -> None:
    def folder(mode: str, namespace: str = "") -> str:
        nodes = graph(mode, Arguments(out=str(tmp_path), namespace=namespace))
        return next(str(spec.parameters["out"]) for spec in nodes if spec.executable == "episode_node")

    assert folder("train") == folder("collect") == str(tmp_path)
    assert folder("deploy") == str(tmp_path / "deploy")
    (tmp_path / "deploy").mkdir()
    assert folder("deploy") == str(tmp_path / "deploy_1")
    assert folder("deploy", "left,right") == str(tmp_path / "deploy_1" / "left")


def test_offline_there_are_bags_and_a_learner_and_no_robot() -> None:
    assert executables("offline", **OFFLINE) == ["bag_node", "learner_node"]
    bags, learner = graph("offline", Arguments(**OFFLINE, out="runs/c"))
    assert bags.parameters["bags"] == ["runs/a/bag", "runs/b/bag"] and bags.ends_graph
    assert bags.parameters["out"] == learner.parameters["out"] == "runs/c"
    assert not bags.parameters["use_sim_time"] and not learner.parameters["use_sim_time"]


def test_bags_belong_to_the_mode_that_reads_them() -> None:
    with pytest.raises(ConfigError, match="bag is empty; name the bags"):
        graph("offline", Arguments())
    with pytest.raises(ConfigError, match="leave it out"):
        graph("train", Arguments(**OFFLINE))


def test_a_real_robot_starts_no_simulator_and_takes_the_walls_time() -> None:
    specs = graph("train", Arguments(sim=False))
    assert "sim_node" not in {spec.executable for spec in specs}
    assert not any(spec.parameters["use_sim_time"] for spec in specs)


def test_a_simulated_human_takes_over_when_a_simulated_robot_learns() -> None:
    def operator(mode: str, **arguments: object) -> object:
        return one(mode, "sim_node", **arguments).parameters["operator"]

    assert operator("train") == "scripted"
    assert operator("train", teleop="none") == "none"
    assert operator("train", teleop="joy") == "none"
    assert operator("deploy") == operator("sim") == "none"
    assert operator("sim", teleop="scripted") == "scripted"


def test_a_simulator_alone_runs_in_real_time() -> None:
    assert one("train", "sim_node").parameters["lock_step"] is True
    assert one("train", "sim_node", lock_step=False).parameters["lock_step"] is False
    assert one("sim", "sim_node").parameters["lock_step"] is False


def test_genie_sim_may_bring_the_clock() -> None:
    assert one("train", "executor_node", sim=False, use_sim_time="true").parameters["use_sim_time"] is True


def test_a_crashed_executor_of_a_real_arm_is_restarted_by_a_human_only() -> None:
    assert one("train", "executor_node").restart
    assert not one("train", "executor_node", sim=False).restart


def test_simulator_and_executor_keep_the_same_step() -> None:
    for lock_step in (True, False):
        for executable in ("sim_node", "executor_node"):
            assert one("train", executable, lock_step=lock_step).parameters["lock_step"] is lock_step
    assert one("train", "executor_node", sim=False).parameters["lock_step"] is False


def test_two_robots_share_one_learner() -> None:
    specs = graph("train", Arguments(namespace="left,right"))
    names = [(spec.namespace, spec.executable) for spec in specs]
    assert ("left", "executor_node") in names
    assert ("right", "executor_node") in names
    assert [namespace for namespace, executable in names if executable == "learner_node"] == [""]
    replay = next(spec for spec in specs if spec.executable == "replay_node")
    assert replay.parameters["robots"] == ["left", "right"]
    inference = next(spec for spec in specs if spec.label == "left/inference")
    assert ("rlt/policy_update", "/rlt/policy_update") in inference.remappings
    assert ("/clock", "/left/clock") in inference.remappings
    seeds = {spec.parameters["seed"] for spec in specs if spec.executable == "episode_node"}
    assert len(seeds) == 2
    folders = {spec.parameters["out"] for spec in specs if spec.executable == "episode_node"}
    assert len(folders) == 2


def test_robots_need_names_to_be_several() -> None:
    for namespace in ("left,left", "left,"):
        with pytest.raises(ConfigError, match="distinct names"):
            graph("train", Arguments(namespace=namespace))


def test_labels_are_unique() -> None:
    labels = [spec.label for spec in graph("train", Arguments(namespace="left,right", teleop="joy"))]
    assert len(set(labels)) == len(labels)


def test_nodes_that_move_the_arm_stop_before_nodes_that_store_data() -> None:
    order = [spec.executable for spec in stop_order(graph("train", Arguments()))]
    assert order.index("episode_node") < order.index("executor_node") < order.index("learner_node")
    assert order.index("learner_node") < order.index("replay_node") < order.index("sim_node")


def test_text_becomes_values() -> None:
    values = {"sim": "false", "seed": "3", "robot_minutes": "2.5", "task": "screw", "namespace": "arm"}
    arguments = from_text(values, origin="test")
    assert arguments == Arguments(sim=False, seed=3, robot_minutes=2.5, task="screw", namespace="arm")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("sim", "maybe"),
        ("seed", "x"),
        ("seed", "-1"),
        ("teleop", "mouse"),
        ("arm", "left"),
        ("robot_minutes", "nan"),
    ],
)
def test_text_that_does_not_fit_is_named(name: str, text: str) -> None:
    with pytest.raises(ConfigError, match=f"here: `{name}` is "):
        from_text({name: text}, origin="here")


def test_values_survive_the_command_line() -> None:
    from rlt_ros.middleware.dds.arguments import parse

    spec = NodeSpec(
        "x_node", "x_node", parameters={"a": "1", "b": [""], "c": ["eval_base:10"], "d": 1e-5, "e": True}
    )
    parsed = parse(spec.command_line())
    assert {name: value for _, name, value in parsed.parameters} == spec.parameters


def test_unknown_modes_are_named() -> None:
    with pytest.raises(ConfigError, match="no mode `fly`"):
        graph("fly", Arguments())
