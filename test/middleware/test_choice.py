from __future__ import annotations

import ast
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from rlt_ros import middleware

PACKAGE = Path(middleware.__file__).parent


def python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    root = str(PACKAGE.parents[1])
    path = os.pathsep.join(
        filter(None, [environment.pop("PYTHONPATH", ""), root, os.environ.get("PYTHONPATH", "")])
    )
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, **environment, "PYTHONPATH": path},
        check=False,
    )


def exported(path: Path) -> list[str]:
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return list(ast.literal_eval(node.value))
    raise AssertionError(f"{path} exports nothing")


def test_both_sides_have_the_same_names() -> None:
    names = exported(PACKAGE / "from_dds.py")
    assert names == exported(PACKAGE / "from_rclpy.py") == sorted(names)
    assert all(hasattr(middleware, name) for name in names)


@pytest.mark.skipif(importlib.util.find_spec("rclpy") is None, reason="needs ROS 2")
def test_with_ros_the_names_are_rclpys_own() -> None:
    import rclpy.node
    import rclpy.qos

    assert middleware.IMPLEMENTATION == "rclpy"
    assert middleware.Node is rclpy.node.Node
    assert middleware.QoSProfile is rclpy.qos.QoSProfile


def test_an_rclpy_for_another_python_is_explained(tmp_path: Path) -> None:
    (tmp_path / "rclpy").mkdir()
    (tmp_path / "rclpy" / "__init__.py").write_text("raise ImportError('no _rclpy_pybind11 for this Python')")
    result = python("import rlt_ros.middleware", PYTHONPATH=str(tmp_path), RLT_ROS_MIDDLEWARE="")
    assert result.returncode == 1
    assert "no _rclpy_pybind11 for this Python" in result.stderr
    assert "RLT_ROS_MIDDLEWARE=dds" in result.stderr


def test_the_choice_may_be_made_by_hand(tmp_path: Path) -> None:
    pytest.importorskip("cyclonedds")
    (tmp_path / "rclpy").mkdir()
    (tmp_path / "rclpy" / "__init__.py").write_text("raise ImportError")
    code = "from rlt_ros.middleware import IMPLEMENTATION; print(IMPLEMENTATION)"
    result = python(code, PYTHONPATH=str(tmp_path), RLT_ROS_MIDDLEWARE="dds")
    assert result.stdout.strip() == "dds", result.stderr


def test_a_choice_that_does_not_exist_is_explained() -> None:
    result = python("import rlt_ros.middleware", RLT_ROS_MIDDLEWARE="zmq")
    assert "`zmq`; set it to rclpy or dds" in result.stderr
