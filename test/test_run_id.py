"""Id of a run, and where the discovery of a simulated graph ends."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path

import pytest

from rlt_ros.bringup import MODES, Arguments, graph, simulates, with_run
from rlt_ros.run_id import RUNS_FILE, local_discovery, new_run_id, note_run


def test_an_id_names_host_and_process() -> None:
    host, pid, _ = new_run_id().rsplit("-", 2)
    assert host in socket.gethostname().replace("-", "_") and int(pid) == os.getpid()


@pytest.mark.parametrize("mode", MODES)
def test_all_nodes_of_a_graph_have_one_id(mode: str) -> None:
    arguments = with_run(mode, Arguments(bag="bag" if mode == "offline" else "", record=True))
    ids = {spec.parameters.get("run_id", "") for spec in graph(mode, arguments)}
    assert ids == {arguments.run_id}
    assert bool(arguments.run_id) == (mode not in ("sim", "monitor"))


def test_a_chosen_id_stays() -> None:
    assert with_run("sim", Arguments(run_id="mine")).run_id == "mine"
    assert with_run("train", Arguments(run_id="mine")).run_id == "mine"


def test_the_folder_keeps_every_run(tmp_path: Path) -> None:
    note_run(tmp_path / "new", "a-1-x", "train")
    note_run(tmp_path / "new", "a-2-y", "collect")
    lines = (tmp_path / "new" / RUNS_FILE).read_text().splitlines()
    assert [(one["run_id"], one["mode"]) for one in map(json.loads, lines)] == [
        ("a-1-x", "train"),
        ("a-2-y", "collect"),
    ]


def test_a_simulated_graph_stays_on_its_host_unless_the_environment_says_otherwise() -> None:
    assert local_discovery({}) == {"ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"}
    assert local_discovery({"ROS_DISTRO": "humble"}) == {"ROS_LOCALHOST_ONLY": "1"}
    for said in ("ROS_AUTOMATIC_DISCOVERY_RANGE", "ROS_LOCALHOST_ONLY", "ROS_STATIC_PEERS"):
        assert local_discovery({said: "SUBNET"}) == {}


@pytest.mark.parametrize(("mode", "expected"), [("train", True), ("sim", True), ("monitor", False)])
def test_only_a_graph_with_a_simulator_is_simulated(mode: str, expected: bool) -> None:
    assert simulates(graph(mode, Arguments())) is expected
    assert not simulates(graph("train", Arguments(sim=False)))
