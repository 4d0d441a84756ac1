from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("cyclonedds")

from rlt_ros.middleware.dds.arguments import Remapping, UnknownROSArgsError, parse
from rlt_ros.middleware.dds.names import (
    NameValidationException,
    expand,
    valid_namespace,
    valid_node_name,
)
from rlt_ros.store.parameter_file import matches


def test_only_what_follows_ros_args_is_read() -> None:
    found = parse(
        ["--other", "-r", "x:=y", "--ros-args", "-r", "a:=b", "--", "-r", "c:=d", "--ros-args", "-p", "e:=1"]
    )
    assert found.remappings == [Remapping("", "a", "b")]
    assert found.overrides("/n") == {"e": 1}


def test_values_are_yaml() -> None:
    texts = {"a": "3", "b": "3e-4", "c": "true", "d": "[1.0, 2.0]", "e": "'7'", "f": "x:=y", "g": ""}
    argv = [word for name, text in texts.items() for word in ("-p", f"{name}:={text}")]
    assert parse(["--ros-args", *argv]).overrides("/n") == {
        "a": 3,
        "b": 3e-4,
        "c": True,
        "d": [1.0, 2.0],
        "e": "7",
        "f": "x:=y",
        "g": None,
    }


def test_a_parameter_may_be_for_one_node() -> None:
    found = parse(["--ros-args", "-p", "arm:rate:=5", "-p", "rate:=1", "-p", "arm:gain:=2"])
    assert found.overrides("/left/arm") == {"rate": 1, "gain": 2}
    assert found.overrides("/armed") == {"rate": 1}


FILE = """\
/**:
  ros__parameters:
    rate: 1.0
    group: {deep: {value: 3}}
/left/arm:
  ros__parameters: {rate: 2.0}
right:
  arm:
    ros__parameters: {rate: 3.0}
/*/hand:
  ros__parameters: {rate: 4.0}
/**/finger:
  ros__parameters: {rate: 5.0}
"""


@pytest.mark.parametrize(
    ("node", "rate"),
    [
        ("/arm", 1.0),
        ("/left/arm", 2.0),
        ("/right/arm", 3.0),
        ("/a/hand", 4.0),
        ("/hand", 1.0),
        ("/a/b/hand", 1.0),
        ("/finger", 5.0),
        ("/a/b/finger", 5.0),
    ],
)
def test_a_file_says_which_node(tmp_path: Path, node: str, rate: float) -> None:
    path = tmp_path / "p.yaml"
    path.write_text(FILE)
    overrides = parse(["--ros-args", "--params-file", str(path)]).overrides(node)
    assert overrides == {"rate": rate, "group.deep.value": 3}


def test_the_command_line_wins_over_files(tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    path.write_text(FILE)
    found = parse(["--ros-args", "-p", "rate:=9.0", "--params-file", str(path)])
    assert found.overrides("/left/arm")["rate"] == 9.0


@pytest.mark.parametrize(
    "argv", [["--nonsense"], ["-r"], ["-r", "a"], ["-r", ":=b"], ["-p", "a=1"], ["-p", "a:=["], ["stray"]]
)
def test_what_is_not_understood_is_shown(argv: list[str]) -> None:
    with pytest.raises(UnknownROSArgsError):
        parse(["--ros-args", *argv])


@pytest.mark.parametrize("text", ["[1]", "a: [", "/**: 3", "/**: {ros__parameters: 3}", "3"])
def test_a_file_of_another_shape_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "wrong.yaml"
    path.write_text(text)
    with pytest.raises(UnknownROSArgsError, match=r"wrong\.yaml"):
        parse(["--ros-args", "--params-file", str(path)])


def test_a_missing_file_is_named() -> None:
    with pytest.raises(UnknownROSArgsError, match=r"none\.yaml.*check the path"):
        parse(["--ros-args", "--params-file", "none.yaml"])


@pytest.mark.parametrize(
    ("name", "absolute"),
    [("x", "/ns/x"), ("x/y", "/ns/x/y"), ("/x", "/x"), ("~/x", "/ns/node/x"), ("~", "/ns/node")],
)
def test_names_become_absolute(name: str, absolute: str) -> None:
    assert expand(name, node="node", namespace="/ns") == absolute


@pytest.mark.parametrize("name", ["", "/", "a b", "a//b", "a/", "3x", "/ns/3x", "a-b", "x~"])
def test_names_that_ros_forbids_are_refused(name: str) -> None:
    with pytest.raises(NameValidationException):
        expand(name, node="node", namespace="/")


def test_remapping_is_by_absolute_name() -> None:
    found = parse(
        ["--ros-args", "-r", "x:=y", "-r", "arm:~/z:=/w", "-r", "__ns:=/q", "-r", "arm:__node:=leg"]
    )
    assert found.remapped("/ns/x", node="n", namespace="/ns") == "/ns/y"
    assert found.remapped("/x", node="n", namespace="/ns") == "/x"
    assert found.remapped("/arm/z", node="arm", namespace="/") == "/w"
    assert found.remapped("/leg/z", node="leg", namespace="/") == "/leg/z"
    assert found.special("__ns", "n") == "/q"
    assert found.special("__node", "arm") == "leg"
    assert found.special("__node", "n") is None


def test_namespaces_and_node_names_are_checked() -> None:
    assert valid_namespace("") == "/"
    assert valid_namespace("a/b") == "/a/b"
    with pytest.raises(NameValidationException):
        valid_namespace("a//b")
    with pytest.raises(NameValidationException):
        valid_node_name("a/b")


def test_patterns_match_whole_names() -> None:
    assert matches("/**", "/a/b")
    assert matches("a", "/a")
    assert not matches("a", "/ab")
    assert not matches("/a", "/b/a")
