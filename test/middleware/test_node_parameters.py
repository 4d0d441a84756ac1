from __future__ import annotations

from typing import Any

import pytest

from rlt_ros.middleware import (
    InvalidParameterTypeException,
    InvalidParameterValueException,
    Node,
    Parameter,
    ParameterAlreadyDeclaredException,
    ParameterNotDeclaredException,
)
from rlt_ros.middleware.messages import (
    FloatingPointRange,
    IntegerRange,
    ParameterDescriptor,
    SetParametersResult,
)

RATE = ParameterDescriptor(
    description="rate, Hz", floating_point_range=[FloatingPointRange(from_value=1.0, to_value=100.0)]
)


def node_with(graph: Any, *arguments: str) -> Node:
    return graph.node("n", cli_args=["--ros-args", *arguments])


def test_the_default_holds_without_an_override(graph: Any) -> None:
    node = node_with(graph)
    for name, value in {"a": 1, "b": 1.5, "c": "x", "d": True, "e": [1.0, 2.0], "f": ["x"]}.items():
        assert node.declare_parameter(name, value).value == value
        assert node.get_parameter(name).value == value


def test_an_override_wins(graph: Any) -> None:
    node = node_with(graph, "-p", "rate:=5.0", "-p", "names:=[a, b]")
    assert node.declare_parameter("rate", 1.0).value == 5.0
    assert list(node.declare_parameter("names", [""]).value) == ["a", "b"]


def test_an_override_of_another_type_is_refused(graph: Any) -> None:
    node = node_with(graph, "-p", "rate:=5")
    with pytest.raises(InvalidParameterTypeException, match="rate"):
        node.declare_parameter("rate", 1.0)


def test_an_override_out_of_range_is_refused(graph: Any) -> None:
    node = node_with(graph, "-p", "rate:=0.5")
    with pytest.raises(InvalidParameterValueException):
        node.declare_parameter("rate", 10.0, RATE)


def test_twice_declared_is_refused(graph: Any) -> None:
    node = node_with(graph)
    node.declare_parameter("a", 1)
    with pytest.raises(ParameterAlreadyDeclaredException):
        node.declare_parameter("a", 1)


def test_not_declared_is_refused(graph: Any) -> None:
    with pytest.raises(ParameterNotDeclaredException):
        node_with(graph).get_parameter("a")


def test_a_change_is_checked(graph: Any) -> None:
    node = node_with(graph)
    node.declare_parameter("rate", 10.0, RATE)
    node.declare_parameter(
        "count", 4, ParameterDescriptor(integer_range=[IntegerRange(from_value=0, to_value=10, step=2)])
    )
    node.declare_parameter("fixed", 1, ParameterDescriptor(read_only=True))
    tried = [("rate", 50.0), ("rate", 200.0), ("rate", 5), ("count", 3), ("count", 6), ("fixed", 2)]
    results = [node.set_parameters([Parameter(name, value=value)])[0] for name, value in tried]
    assert [result.successful for result in results] == [True, False, False, False, True, False]
    assert all(result.reason for result in results if not result.successful)
    assert [node.get_parameter(name).value for name in ("rate", "count", "fixed")] == [50.0, 6, 1]


def test_a_callback_may_refuse(graph: Any) -> None:
    node = node_with(graph)
    node.declare_parameter("a", 1)
    seen = []

    def check(parameters: list[Parameter]) -> Any:
        seen.extend(parameter.name for parameter in parameters)
        return SetParametersResult(successful=parameters[0].value < 5, reason="too large")

    node.add_on_set_parameters_callback(check)
    assert not node.set_parameters([Parameter("a", value=7)])[0].successful
    assert node.set_parameters([Parameter("a", value=3)])[0].successful
    assert (node.get_parameter("a").value, seen) == (3, ["a", "a"])
    node.remove_on_set_parameters_callback(check)
    assert node.set_parameters([Parameter("a", value=7)])[0].successful


def test_descriptions_are_kept(graph: Any) -> None:
    node = node_with(graph)
    node.declare_parameter("rate", 10.0, RATE)
    assert node.describe_parameter("rate").description == "rate, Hz"


def test_groups_are_declared_together(graph: Any) -> None:
    node = node_with(graph, "-p", "g.b:=7")
    assert [p.value for p in node.declare_parameters("g", [("a", 1), ("b", 2)])] == [1, 7]
    assert node.get_parameter("g.b").value == 7


def test_names_and_namespace_come_from_the_command_line(graph: Any) -> None:
    node = node_with(graph, "-r", "__node:=m", "-r", "__ns:=/left", "-r", "x:=y")
    assert node.get_fully_qualified_name() == "/left/m"
    assert node.resolve_topic_name("x") == "/left/y"
    assert node.resolve_topic_name("x", only_expand=True) == "/left/x"
