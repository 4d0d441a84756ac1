from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rlt_ros.cli import report
from rlt_ros.cli.main import main
from rlt_ros.cli.output import EXIT_ERROR, jsonable
from rlt_ros.cli.overrides import OverrideError, read_overrides
from rlt_ros.cli.parser import build_parser
from rlt_ros.sim import SCENES
from rlt_ros.store.interruption import EXIT_INTERRUPTED

COMMANDS = ("train", "eval", "report", "pretrain", "bench", "graph", "echo")


@pytest.mark.parametrize("command", COMMANDS)
def test_help_teaches_by_example(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([command, "--help"])
    text = capsys.readouterr().out
    assert ended.value.code == 0
    assert f"rlt-ros {command} " in text.split("examples:")[1]
    assert "--json" in text


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    text = capsys.readouterr().out
    assert all(f"\n    {command} " in text for command in COMMANDS)


def test_help_loads_nothing_heavy() -> None:
    probe = (
        "import sys\n"
        "from rlt_ros.cli.parser import build_parser\n"
        "build_parser().format_help()\n"
        "print([name for name in ('torch', 'mujoco', 'numpy', 'rich') if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


@pytest.mark.parametrize(
    "argv",
    [
        ["dance"],
        ["train"],
        ["train", "--out", "x", "--robot-minutes", "0"],
        ["train", "--out", "x", "--robot-minutes", "nan"],
        ["train", "--out", "x", "--eval-episodes", "-3"],
        ["eval", "run", "--images", "none"],
        ["bench", "coffee"],
    ],
)
def test_wrong_usage_exits_with_2(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(argv)
    assert ended.value.code == EXIT_ERROR
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ") and line.endswith(" --help` explains")


def test_a_mistyped_command_gets_the_closest_one(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["trian"])
    assert "`trian` is unknown; did you mean `train`?" in capsys.readouterr().err


def test_alone_it_shows_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    assert "start here:" in capsys.readouterr().out


def test_tasks_of_the_help_are_those_of_the_simulator() -> None:
    from rlt_ros.sim.tasks import TASKS as simulated

    assert set(SCENES) == set(simulated)


def test_an_expected_error_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(tmp_path / "nothing")]) == EXIT_ERROR
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith(f"error: {tmp_path / 'nothing'}: no such run folder")


def test_debug_shows_the_traceback(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no such run folder"):
        main(["report", "--debug", str(tmp_path / "nothing")])


def test_a_bug_is_not_reported_as_an_error_of_the_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(args: Any) -> dict[str, Any]:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(report, "run", broken)
    with pytest.raises(ZeroDivisionError):
        main(["report", str(tmp_path)])


def test_interrupt_is_tidy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(args: Any) -> dict[str, Any]:
        raise KeyboardInterrupt

    monkeypatch.setattr(report, "run", interrupted)
    assert main(["report", str(tmp_path)]) == EXIT_INTERRUPTED
    assert capsys.readouterr().err == "interrupted\n"


def test_a_missing_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def lacking(args: Any) -> dict[str, Any]:
        raise ModuleNotFoundError("No module named 'torchrl.data'", name="torchrl.data")

    monkeypatch.setattr(report, "run", lacking)
    assert main(["report", str(tmp_path)]) == EXIT_ERROR
    assert "pip install 'rlt_ros[bench]'" in capsys.readouterr().err


def test_an_unknown_missing_module_is_a_bug(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def lacking(args: Any) -> dict[str, Any]:
        raise ModuleNotFoundError("No module named 'nobody'", name="nobody")

    monkeypatch.setattr(report, "run", lacking)
    with pytest.raises(ModuleNotFoundError):
        main(["report", str(tmp_path)])


def test_a_full_disk_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(args: Any) -> dict[str, Any]:
        raise OSError(28, "No space left on device", "summary.json")

    monkeypatch.setattr(report, "run", full)
    assert main(["report", str(tmp_path)]) == EXIT_ERROR
    assert "No space left on device: 'summary.json'" in capsys.readouterr().err


def test_json_values_are_plain() -> None:
    value = {
        "a": np.float32(0.5),
        "b": [np.int64(3), float("nan")],
        "c": Path("x"),
        4: (True, None, np.arange(2)),
    }
    assert jsonable(value) == {"a": 0.5, "b": [3, None], "c": "x", "4": [True, None, [0, 1]]}
    json.dumps(jsonable(value), allow_nan=False)


def test_overrides_come_from_file_and_command_line(tmp_path: Path) -> None:
    path = tmp_path / "rlt.yaml"
    path.write_text("/**:\n  ros__parameters:\n    rlt: {beta: 0.1, lr: 3e-4}\n    run: {threads: 2}\n")
    assert read_overrides(path, ["rlt.beta=2e-2", "rlt.hidden=[64, 64]", "run.name=a=b"]) == {
        "rlt": {"beta": 0.02, "lr": 3e-4, "hidden": [64, 64]},
        "run": {"threads": 2, "name": "a=b"},
    }


@pytest.mark.parametrize("assignment", ["beta=1", "rlt.beta", "rlt.=1", ".beta=1", "rlt.beta=[1"])
def test_an_assignment_that_cannot_be_read_is_shown(assignment: str) -> None:
    with pytest.raises(OverrideError, match="--set"):
        read_overrides(None, [assignment])


@pytest.mark.parametrize(
    "text", ["beta: 0.1\n", "- 1\n", "", "/**: {ros__parameters: {rlt: 3}}", "a: [", "\x00"]
)
def test_a_file_that_is_no_parameter_file_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "wrong.yaml"
    path.write_text(text)
    with pytest.raises(OverrideError, match=r"wrong\.yaml"):
        read_overrides(path, [])


def test_unknown_setting_is_an_error_before_anything_is_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    assert main(["train", "--out", str(out), "--set", "rlt.betta=1"]) == EXIT_ERROR
    error = capsys.readouterr().err
    assert "betta" in error
    assert "beta" in error
    assert not out.exists()


def test_every_command_can_run_and_present() -> None:
    for command in build_parser()._subparsers._group_actions[0].choices.values():  # type: ignore[union-attr]
        assert callable(command.get_default("run"))
        assert callable(command.get_default("present"))


def completed(*words: str) -> list[str]:
    """Candidates that bash offers for the last of ``words``."""
    script = build_script()
    line = " ".join(f"'{word}'" for word in words)
    call = f"COMP_WORDS=(rlt-ros {line})\nCOMP_CWORD={len(words)}\n_rlt_ros"
    probe = f"{script}\n{call}\nprintf '%s\\n' \"${{COMPREPLY[@]}}\""
    done = subprocess.run(["bash", "-c", probe], capture_output=True, text=True, check=True)
    return done.stdout.split()


def build_script() -> str:
    args = build_parser().parse_args(["completion", "bash"])
    return str(args.run(args)["script"])


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("tra",), ["train"]),
        (("launch", "dep"), ["deploy"]),
        (("launch", "train", "--robot", "ur5e"), ["ur5e", "ur5e_lyrical"]),
        (("launch", "train", "--lock-step", "t"), ["true"]),
        (("launch", "train", "--eval"), ["--eval-episodes"]),
        (("train", "--task", "ch"), ["charger"]),
        (("eval", "x", "--images", "s"), ["swapped"]),
    ],
)
def test_the_shell_completes_commands_options_and_names(words: tuple[str, ...], expected: list[str]) -> None:
    assert completed(*words) == expected


def test_a_table_that_is_too_wide_is_printed_row_by_row(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from rlt_ros.cli.output import print_table

    monkeypatch.setenv("COLUMNS", "40")
    rows = [("/rlt/episode_state", "rlt_ros/msg/EpisodeState", "a\nb"), ("/clock", "Clock", "c")]
    print_table(("topic", "type", "from"), rows)
    text = capsys.readouterr().out
    assert max(len(line) for line in text.splitlines()) <= 40
    assert "/rlt/episode_state\n  type  rlt_ros/msg/EpisodeState\n  from  a b\n" in text
    print_table(("topic", "from"), [("/clock", "c")])
    assert "│ /clock │" in capsys.readouterr().out
