"""Wrong launches end with one sentence and status 2, before anything is started or written."""

from __future__ import annotations

import dataclasses
import fcntl
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlt_ros.bringup import MODES, Arguments
from rlt_ros.cli.main import main
from rlt_ros.cli.output import EXIT_ERROR
from rlt_ros.preflight import check_arguments
from rlt_ros.rlt.config import RLTConfig
from rlt_ros.store.parameters import ConfigError
from rlt_ros.store.run_lock import LOCK_FILE, RunLock, require_free

ROOT = Path(__file__).resolve().parents[1]

WRONG = {
    "launch train --robot ur5": "robot `ur5` is unknown; did you mean `ur5e`?",
    "launch train --robot so101": "so101 has no `simulation`",
    "launch train --robot {tmp}/mine.yaml": "mine.yaml: cannot be read",
    "launch train --task chargr": "task `chargr` is unknown; did you mean `charger`?",
    "launch train --vla nothere": "nothere: holds no weights",
    "launch train --vla openpy:ws://gpu:1": "`openpy` is no kind of VLA",
    "launch train --robot ur5e --vla builtin:ur5": "did you mean `ur5e`?",
    "launch train --robot ur5e --task screw": "token_screw.safetensors",
    "launch train --robot-minutes -3": "`robot_minutes` is -3.0",
    "launch train --robot-minutes nine": "`robot_minutes` is `nine`; it must be a number",
    "launch train --robot-minutes 0": "robot_minutes is 0",
    "launch train --seed 900": "seed is 900",
    "launch train --teleop mouse": "`teleop` is 'mouse'",
    "launch train --params-file {tmp}/absent.yaml": "absent.yaml",
    "launch train --params-file {tmp}/typo.yaml": "`betta` is unknown; did you mean `beta`?",
    "launch train --params-file {tmp}/dotted.yaml": "`betta` is unknown; did you mean `beta`?",
    "launch train --params-file {tmp}/node.yaml": "did you mean `executor_node`?",
    "launch train --params-file {tmp}/key.yaml": "executor_node has no parameter `priority`",
    "launch train --params-file {tmp}/value.yaml": "`discovery_time` is -1.0; it must be at least 0.0 s",
    "launch train --namespace 1left": "namespace is `1left`",
    "launch train --out {tmp}/file": "file is a file, not a folder",
    "launch train --out {tmp}/file/run": "file is a file, not a folder",
    "launch train --out {tmp}/other": "holds a run with task `screw`, not `charger`",
    "launch train --out {tmp}/broken": "config.json: is not JSON",
    "launch deploy --out {tmp}/none": "there is no policy to deploy",
    "launch offline --bag {tmp}/none": "is missing; check the path",
    "train --task chager --out {tmp}/run": "did you mean `charger`?",
    "train --robot fr3 --out {tmp}/run": "robot `fr3` is unknown; did you mean `franka_fr3`?",
    "train --seed 900 --out {tmp}/run": "seed is 900",
    "train --weights nothere --out {tmp}/run": "nothere: holds no weights",
    "train --set rlt.betta=1 --out {tmp}/run": "did you mean `beta`?",
    "train --out {tmp}/file": "file is a file, not a folder",
    "train --out {tmp}/other": "holds a run with task `screw`, not `charger`",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "file").write_text("")
    (tmp_path / "typo.yaml").write_text("/**: {ros__parameters: {rlt: {betta: 1.0}}}")
    (tmp_path / "dotted.yaml").write_text("/**: {ros__parameters: {rlt.betta: 1.0}}")
    (tmp_path / "node.yaml").write_text("executer_node: {ros__parameters: {priority: 1}}")
    (tmp_path / "key.yaml").write_text("executor_node: {ros__parameters: {priority: 1}}")
    (tmp_path / "value.yaml").write_text("executor_node: {ros__parameters: {discovery_time: -1.0}}")
    for name, text in (("other", json.dumps({"task": "screw", "seed": 0})), ("broken", "[" * 20_000)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(text)
    return tmp_path


def words(line: str, folder: Path) -> list[str]:
    given = line.format(tmp=folder).split()
    return given if "--out" in given else [*given, "--out", str(folder / "run")]


def contents(folder: Path) -> list[str]:
    return sorted(str(path) for path in folder.rglob("*"))


@pytest.mark.parametrize("line", WRONG)
def test_a_wrong_command_line_is_one_sentence_and_leaves_nothing(
    line: str, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    before = contents(folder)
    assert main(words(line, folder)) == EXIT_ERROR
    (message,) = capsys.readouterr().err.splitlines()
    assert message.startswith("error: ") and WRONG[line] in message
    assert contents(folder) == before


def test_neither_torch_nor_mujoco_is_loaded_to_find_a_fault(folder: Path) -> None:
    probe = (
        "import sys\nfrom rlt_ros.cli.main import main\n"
        f"print(main({words('launch train --vla nothere', folder)!r}), "
        f"main({words('train --seed 900', folder)!r}), "
        "[name for name in ('torch', 'mujoco', 'safetensors') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip() == "2 2 []"


def test_the_checks_run_on_a_python_with_pyyaml_alone(tmp_path: Path) -> None:
    import yaml

    os.symlink(Path(yaml.__file__).parent, tmp_path / "yaml")
    os.symlink(ROOT / "rlt_ros", tmp_path / "rlt_ros")
    probe = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "from rlt_ros.bringup import Arguments\nfrom rlt_ros.preflight import check_arguments\n"
        f"check_arguments('train', Arguments(out={str(tmp_path / 'run')!r}))\n"
        "assert 'numpy' not in sys.modules\nprint('checked')"
    )
    done = subprocess.run([sys.executable, "-I", "-S", "-c", probe], capture_output=True, text=True)
    assert done.stdout.strip() == "checked", done.stderr


@pytest.mark.parametrize("domain", ["abc", "-1", "233"])
def test_a_wrong_domain_is_named(domain: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ROS_DOMAIN_ID", domain)
    with pytest.raises(ConfigError, match=f"ROS_DOMAIN_ID is `{domain}`"):
        check_arguments("sim", Arguments(out=str(tmp_path)))


@pytest.mark.parametrize("settings", ["rlt: {beta: 0.5, utd: 2.0}", "rlt.beta: 0.5, rlt.utd: 2.0"])
def test_a_run_continues_with_the_parameters_it_began_with_in_either_notation(
    settings: str, tmp_path: Path
) -> None:
    file, out = tmp_path / "params.yaml", tmp_path / "run"
    file.write_text(f"/**: {{ros__parameters: {{{settings}}}}}")
    out.mkdir()
    method = dataclasses.asdict(RLTConfig(beta=0.5, utd=2.0))
    config = {"task": "charger", "seed": 0, "vla": "builtin", "rlt": method}
    (out / "config.json").write_text(json.dumps({**config, "run": {"robot": Arguments().robot}}))
    check_arguments("train", Arguments(out=str(out), params_file=str(file)))
    with pytest.raises(ConfigError, match=r"other settings \(rlt.beta, rlt.utd\)"):
        check_arguments("train", Arguments(out=str(out)))


def test_a_folder_in_use_is_refused_with_pid_and_host(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lock = RunLock(tmp_path)
    assert main(["launch", "train", "--out", str(tmp_path)]) == EXIT_ERROR
    assert f"is in use by process {os.getpid()} on {os.uname().nodename}" in capsys.readouterr().err
    lock.release()
    require_free(tmp_path)
    RunLock(tmp_path).release()


def test_a_lock_ends_with_its_process_however_it_ends(tmp_path: Path) -> None:
    source = (
        "import os, signal\nfrom pathlib import Path\nfrom rlt_ros.store.run_lock import RunLock\n"
        f"lock = RunLock(Path({str(tmp_path)!r}))\nos.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", source], cwd=ROOT)
    assert re.fullmatch(r"process \d+ on \S+\n", (tmp_path / LOCK_FILE).read_text())
    RunLock(tmp_path).release()


def test_the_owner_of_a_folder_removes_what_killed_processes_left_there(tmp_path: Path) -> None:
    source = (
        "import os, signal, sys\nfrom rlt_ros.store.storage import replacing\n"
        "with replacing(sys.argv[1]) as part:\n    os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", source, str(tmp_path / "videos" / "start-1.mp4")], cwd=ROOT)
    assert list(tmp_path.rglob(".start-1.mp4.*.part"))
    RunLock(tmp_path).release()
    assert not list(tmp_path.rglob("*.part"))


def test_looking_whether_a_folder_is_free_takes_no_lock(tmp_path: Path) -> None:
    RunLock(tmp_path).release()
    require_free(tmp_path)
    with (tmp_path / LOCK_FILE).open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


_TEXT = st.text(
    st.characters(exclude_characters="\0", codec="utf-8"), max_size=12
)  # as a command line has it


@given(
    mode=st.sampled_from([*MODES, "trian"]),
    values=st.fixed_dictionaries(
        {},
        optional={
            "robot": _TEXT,
            "task": _TEXT,
            "vla": _TEXT,
            "namespace": _TEXT,
            "params_file": _TEXT,
            "bag": _TEXT,
            "seed": st.integers(0, 10_000),
            "robot_minutes": st.floats(0, 100),
        },
    ),
)
def test_any_text_is_accepted_or_refused_with_a_sentence(mode: str, values: dict[str, Any]) -> None:
    try:
        check_arguments(mode, Arguments(out="/nonexistent/run", **values))
    except (ConfigError, RuntimeError) as error:
        assert type(error).__module__.startswith("rlt_ros")
        assert str(error)
