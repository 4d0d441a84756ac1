from __future__ import annotations

import os
import subprocess
import sys

import pytest

from rlt_ros.sim import opengl


def test_a_chosen_backend_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MUJOCO_GL", "mine")
    assert opengl.ensure_opengl() == "mine"


def test_a_backend_that_cannot_draw_is_refused_with_its_error() -> None:
    assert "no-such-backend" in str(opengl.probe("no-such-backend"))


def test_where_nothing_draws_the_error_holds_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MUJOCO_GL", raising=False)
    monkeypatch.setattr(opengl, "BACKENDS", ("no-such-backend",))
    with pytest.raises(opengl.OpenGLMissing, match="sudo apt-get install -y libegl1"):
        opengl.ensure_opengl()
    assert "MUJOCO_GL" not in os.environ


def test_the_module_names_a_backend_or_fails_with_the_command() -> None:
    environment = {name: value for name, value in os.environ.items() if name != "MUJOCO_GL"}
    result = subprocess.run(
        [sys.executable, "-m", "rlt_ros.sim.opengl"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if result.returncode == 0:
        assert result.stdout.strip() in {f"OpenGL: {backend}" for backend in opengl.BACKENDS}
    else:
        assert opengl.INSTALL_COMMAND in result.stderr
        assert "Traceback" not in result.stderr


def test_a_wrong_choice_of_the_user_is_found_out_before_training() -> None:
    result = subprocess.run(
        [sys.executable, "-m", "rlt_ros.sim.opengl"],
        env={**os.environ, "MUJOCO_GL": "no-such-backend"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 1
    assert "MUJOCO_GL=no-such-backend" in result.stderr


def test_ctrl_c_of_a_terminal_does_not_reach_the_probe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opengl, "_PROBE", f"import os; assert os.getpgid(0) != {os.getpgid(0)}")
    assert opengl.probe("any") is None
