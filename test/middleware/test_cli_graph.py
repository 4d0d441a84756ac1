from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from rlt_ros.cli.echo import plain
from rlt_ros.middleware.messages import DiagnosticArray, DiagnosticStatus, Image, Joy

ROOT = Path(__file__).resolve().parents[2]


def rlt_ros(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    command = [sys.executable, "-m", "rlt_ros.cli.main", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60, check=False)


def test_graph_shows_nodes_topics_and_rates(child: Any) -> None:
    for role in ("unreliable", "parrot"):
        child(role, "--ros-args", "-r", "__ns:=/arm").line()
    result = rlt_ros("graph", "--seconds", "3", "--json")
    seen = json.loads(result.stdout.splitlines()[-1])
    assert seen["nodes"] == ["/arm/parrot", "/arm/unreliable"]
    topics = {topic["name"]: topic for topic in seen["topics"]}
    sensor = topics["/arm/sensor"]
    assert (sensor["types"], sensor["publishers"]) == (["std_msgs/msg/String"], ["/arm/unreliable"])
    assert sensor["rate"] > 0
    assert topics["/arm/words"]["subscriptions"] == ["/arm/parrot"]
    assert topics["/arm/words"]["rate"] == 0


def test_graph_is_a_table_for_people(child: Any) -> None:
    child("parrot").line()
    text = rlt_ros("graph", "--seconds", "2").stdout
    assert "/parrot" in text
    assert "/words" in text


def test_echo_takes_what_the_publisher_offers(child: Any) -> None:
    child("unreliable").line()
    child("latched").line()
    live = rlt_ros("echo", "/sensor", "--count", "2")
    assert live.stdout == "data: x\n---\ndata: x\n---\n"
    latched = json.loads(rlt_ros("echo", "state", "--count", "1", "--json").stdout.splitlines()[-1])
    assert latched == {"topic": "/state", "type": "std_msgs/msg/String", "messages": [{"data": "new"}]}


def test_echo_says_that_nobody_publishes() -> None:
    result = rlt_ros("echo", "/nothing", "--timeout", "0.5")
    assert result.returncode == 2
    assert result.stderr.startswith("error: /nothing has no publisher within 0.5 s")


def test_long_sequences_are_cut() -> None:
    image = Image(data=bytes(100))
    assert plain(image, 16)["data"] == [*[0] * 16, "… 100 in all"]
    assert plain(image, None)["data"] == [0] * 100


def test_values_are_plain() -> None:
    array = DiagnosticArray(status=[DiagnosticStatus(level=DiagnosticStatus.WARN, name="executor")])
    values = plain(array, 16)
    assert values["status"][0]["level"] == 1
    assert plain(Joy(axes=[0.5]), 16)["axes"] == [0.5]
    json.dumps(values)


@pytest.mark.parametrize("module", ["graph", "echo"])
def test_the_command_is_there(module: str) -> None:
    from rlt_ros.cli.parser import build_parser

    arguments = {"graph": ["graph"], "echo": ["echo", "/x"]}[module]
    parsed = build_parser().parse_args(arguments)
    assert isinstance(parsed, argparse.Namespace)
    assert callable(parsed.run)
