"""Launch files import the standard library, PyYAML and launch alone: ``ros2`` runs on the system's Python."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from rlt_ros.bringup import MODES, Arguments, graph
from rlt_ros.bringup.rviz_config import rviz_config
from rlt_ros.robots.profile import load_profile, profile_names

ROOT = Path(__file__).resolve().parents[1]

LAUNCH = {
    "launch": "LaunchContext, LaunchDescription",
    "launch.actions": "DeclareLaunchArgument, EmitEvent, ExecuteProcess, LogInfo, OpaqueFunction, "
    "RegisterEventHandler, SetEnvironmentVariable, TimerAction",
    "launch.event_handlers": "OnProcessExit",
    "launch.events": "Shutdown, matches_action",
    "launch.events.process": "ShutdownProcess",
    "launch.substitutions": "LaunchConfiguration",
    "launch_ros": "",
    "launch_ros.actions": "Node",
}
"""Names of launch that launch files import, as stand-ins that hold what they are given."""

PROGRAM = """
import sys
from rlt_ros import bringup_launch
from rlt_ros.bringup import MODES, Arguments, graph
from rlt_ros.preflight import check_arguments

mode, out = sys.argv[1:]
assert bringup_launch.description(mode)
values = {"bag": out} if mode == "offline" else {}
arguments = Arguments(out=out, rviz=True, teleop="joy", **values)
if mode != "deploy":
    check_arguments(mode, arguments)
specs = bringup_launch._join_domain(mode, graph(mode, arguments, ros=True))
assert bringup_launch._Launch(mode, arguments, specs).actions()
"""


ENDS = """
import sys
from rlt_ros.bringup_launch import _Launch
from rlt_ros.bringup import Arguments, LaunchError, graph

runs = (
    Arguments(out=sys.argv[2], rviz=rviz, namespace=namespace)
    for rviz, namespace in ((False, ""), (True, ""), (False, "left,right"))
)
first, *others = (_Launch("monitor", one, graph("monitor", one, ros=True)) for one in runs)
for one in (first, *others):
    one.actions()
for one in others:
    assert one._on_exit(one._specs[0], 2), "the other process continues"
assert others[1]._on_exit(others[1]._specs[1], 1), "it restarts"
for one in (first, others[1]):
    try:
        one._on_exit(one._specs[-1], 2)
    except LaunchError as error:
        assert "no node is left" in str(error)
    else:
        raise SystemExit("no status")
assert others[0]._on_exit(others[0]._specs[-1], 0), "RViz was closed"
"""


@pytest.fixture
def bare_path(tmp_path: Path) -> str:
    """Folders of a Python that has PyYAML, launch and this package, and nothing else."""
    for module, names in LAUNCH.items():
        folder = tmp_path / "bare" / Path(*module.split("."))
        folder.mkdir(parents=True)
        classes = [
            f"class {name.strip()}:\n    def __init__(self, *a, **k): pass\n"
            for name in names.split(",")
            if name
        ]
        (folder / "__init__.py").write_text("\n".join(classes))
    (tmp_path / "bare" / "yaml").symlink_to(Path(yaml.__file__).parent)
    return f"{tmp_path / 'bare'}{os.pathsep}{ROOT}"


@pytest.mark.parametrize("mode", MODES)
def test_every_mode_starts_from_a_python_without_site_packages(
    mode: str, bare_path: str, tmp_path: Path
) -> None:
    run_bare(PROGRAM, mode, bare_path, tmp_path)


def test_a_launch_whose_last_process_fails_has_failed(bare_path: str, tmp_path: Path) -> None:
    run_bare(ENDS, "monitor", bare_path, tmp_path)


def run_bare(program: str, mode: str, bare_path: str, tmp_path: Path) -> None:
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": bare_path, "XDG_CACHE_HOME": str(tmp_path)}
    out = tmp_path / "run"
    out.mkdir()
    done = subprocess.run(
        [sys.executable, "-S", "-c", program, mode, str(out)],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("namespace", ["", "left"])
@pytest.mark.parametrize("robot", profile_names())
def test_rviz_has_the_frames_of_the_robot(robot: str, namespace: str) -> None:
    document = yaml.safe_load(rviz_config(robot, namespace))["Visualization Manager"]
    profile, prefix = load_profile(robot), f"{namespace}/" if namespace else ""
    assert document["Global Options"]["Fixed Frame"] == prefix + profile.base_frame
    assert document["Views"]["Current"]["Target Frame"] == prefix + profile.tip_frame
    (model,) = (one for one in document["Displays"] if one["Class"].endswith("RobotModel"))
    assert model["TF Prefix"] == namespace


def test_the_window_of_rviz_is_large_and_its_picture_is_not_hidden() -> None:
    document = yaml.safe_load(rviz_config("agibot_g1_geniesim", ""))
    window = document["Window Geometry"]
    assert window["Width"] >= 1280 and window["Height"] >= 720
    assert window["Hide Left Dock"] is False, "RViz leaves a value that is missing uninitialised"
    assert "QMainWindow State" not in window, "it depends on the version of Qt"
    views = document["Visualization Manager"]["Views"]["Current"]
    assert views["Distance"] <= 1.0, "a path of 5 mm would be a pixel"


def test_rviz_of_two_simulated_robots_has_the_clock_of_each(tmp_path: Path) -> None:
    for spec in graph("train", Arguments(namespace="left,right", rviz=True)):
        if spec.name == "rviz":
            assert ("/clock", f"/{spec.namespace}/clock") in spec.remappings
            (path,) = spec.files
            assert path == spec.arguments[1]


def test_a_monitor_takes_the_wall_clock_unless_asked_otherwise() -> None:
    def simulated(**arguments: str) -> set[object]:
        specs = graph("monitor", Arguments(rviz=True, **arguments))  # type: ignore[arg-type]
        return {spec.parameters["use_sim_time"] for spec in specs}

    assert simulated() == {False}
    assert simulated(use_sim_time="true") == {True}
