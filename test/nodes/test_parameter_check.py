"""Parameter files that a node would refuse are refused before any node starts, and no others."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rlt_ros.bringup import ORDER, Arguments, graph
from rlt_ros.ros.parameter_check import check_parameters
from rlt_ros.ros.settings import SETTINGS
from rlt_ros.store.parameter_file import read_parameters
from rlt_ros.store.parameters import ConfigError, describe, plain_default

NODES = Path(__file__).resolve().parents[2] / "rlt_ros" / "nodes"

DECLARED = [
    (node, f"{section}.{one.name}" if section else one.name, one)
    for node, groups in SETTINGS.items()
    for section, cls in groups
    for one in describe(cls)
]


def check(tmp_path: Path, document: dict[str, Any], mode: str = "train", **arguments: Any) -> None:
    path = tmp_path / "parameters.yaml"
    path.write_text(json.dumps(document))
    check_parameters(path, read_parameters(path), graph(mode, Arguments(**arguments), ros=False))


def of_node(node: str, **values: Any) -> dict[str, Any]:
    return {node: {"ros__parameters": values}}


@pytest.mark.parametrize("node", ORDER)
def test_the_settings_of_a_node_are_those_it_declares(node: str) -> None:
    """In the same order, as the reference page shows them."""
    calls = sorted(
        (call.lineno, call.col_offset, ast.literal_eval(call.args[1]), ast.unparse(call.args[2]))
        for call in ast.walk(ast.parse((NODES / f"{node}.py").read_text(encoding="utf-8")))
        if isinstance(call, ast.Call) and ast.unparse(call.func) == "declare"
    )
    assert [(section, cls.__name__) for section, cls in SETTINGS[node]] == [call[2:] for call in calls]


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (of_node("executor_node", priorty=1), r"executor_node has no parameter `priorty`"),
        (of_node("executor_node", discovry_time=1.0), r"did you mean `discovery_time`\?"),
        (
            of_node("executor_node", discovery_time=-1.0),
            r"executor_node: `discovery_time` is -1.0; it must be at",
        ),
        (of_node("/executor_node", realtime_priority=99), r"`realtime_priority` is 99; it must be 0 to 98"),
        (
            of_node("/**/executor_node", discovery_time=2),
            r"executor_node: `discovery_time` is 2 \(int\); write 2.0",
        ),
        (of_node("**", realtime_priority="high"), r"`realtime_priority` is 'high' \(str\)"),
        (of_node("learner_node", rlt={"beta": -1.0}), r"learner_node, section rlt: `beta` is -1.0"),
        (of_node("learner_node", **{"rlt.betta": 1.0}), r"key `betta` is unknown; did you mean `beta`\?"),
        (of_node("executor_node", rlt={"beta": 1.0}), r"executor_node has no parameter `rlt.beta`"),
        (of_node("episode_node", plan="train"), r"episode_node: `plan`"),
        (of_node("/**", discovry_time=1.0), r"no node has the parameter `discovry_time`; did you mean"),
        (of_node("/**", use_sim_time="yes"), r"`use_sim_time` is 'yes'; it must be true or false"),
        (of_node("perception_node", image_size=[64]), r"`image_size` is \[64\]"),
        (of_node("executer_node", discovery_time=1.0), r"did you mean `executor_node`\?"),
        ({"left": of_node("executor_node", speed=1.0)}, r"executor_node has no parameter `speed`"),
        ({"/**": {"parameters": {}}}, r"has no `ros__parameters:` section"),
    ],
)
def test_what_a_node_would_refuse_is_one_sentence(
    document: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=message) as refused:
        check(tmp_path, document)
    assert str(tmp_path / "parameters.yaml") in str(refused.value) and "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "document",
    [
        of_node("executor_node", discovery_time=2.0, use_sim_time=True, autostart=False),
        of_node("executor_node", **{"qos_overrides": {"/arm": {"subscription": {"depth": 5}}}}),
        of_node("perception_node", image_size=[64, 64]),
        of_node("/**", robot_description="<robot/>", rate=5, rlt={"beta": 0.1}),
        of_node("robot_state_publisher", publish_frequency=1),
        {"left": of_node("bag_node", labels="x.yaml", states="computed")},
    ],
)
def test_what_nodes_take_and_what_is_for_others_passes(document: dict[str, Any], tmp_path: Path) -> None:
    check(tmp_path, document)


def test_a_pattern_reaches_the_nodes_of_its_namespace_alone(tmp_path: Path) -> None:
    document = {"left": of_node("executor_node", discovery_time=-1.0)}
    check(tmp_path, document, namespace="right")
    with pytest.raises(ConfigError, match="discovery_time"):
        check(tmp_path, document, namespace="left,right")


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(DECLARED), st.integers(1, 1000))
def test_any_value_beyond_its_range_is_named_with_its_node(
    tmp_path: Path, declared: tuple[str, str, Any], excess: int
) -> None:
    node, name, one = declared
    nodes = {spec.name for spec in graph("train", Arguments(record=True, teleop="joy"), ros=False)}
    if one.low is None or node not in nodes or isinstance(plain_default(one), list):
        return
    value = type(plain_default(one) or 0.0)(one.low - excess)
    with pytest.raises(ConfigError, match=rf"{node}.*`{one.name.rpartition('.')[2]}`"):
        check(tmp_path, of_node(node, **{name: value}), record=True, teleop="joy")
