"""``rlt-ros data`` and ``rlt-ros pretrain --data`` as a user calls them."""

from __future__ import annotations

import inspect
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rlt_ros.bench import data as bench
from rlt_ros.bench.synthetic_data import pack
from rlt_ros.cli import data as data_cli
from rlt_ros.cli.main import main
from rlt_ros.cli.output import EXIT_EMPTY, EXIT_ERROR
from rlt_ros.data.agibot import ARM_JOINTS
from rlt_ros.data.convert import to_lerobot
from rlt_ros.data.download import GENIE_SIM
from rlt_ros.data.lerobot_files import VERSIONS
from rlt_ros.data.video import CODECS

sys.path.append(str(Path(__file__).parents[1]))
from tiny_vla import INSTRUCTION, write_tiny_vla


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def output(capsys: pytest.CaptureFixture[str], *argv: object) -> dict[str, Any]:
    assert main([*map(str, argv), "--json"]) == 0
    result: dict[str, Any] = json.loads(capsys.readouterr().out.splitlines()[-1])
    return result


def error(capsys: pytest.CaptureFixture[str], *argv: object) -> str:
    assert main(list(map(str, argv))) == EXIT_ERROR
    lines = capsys.readouterr().err.splitlines()
    assert lines[-1].startswith("error: ")
    return lines[-1]


def test_inspect_has_layout_episodes_grippers_and_faults(
    folders: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    parts = pack(folders["lerobot_v2"], tmp_path / "pick_block_color_g1.tar.gz", (1_999,))
    parts[-2].unlink()
    result = output(capsys, "data", "inspect", *[part for part in parts if part.exists()])
    assert result["layout"] == "lerobot_v2"
    archive = result["archives"]["pick_block_color_g1.tar.gz"]
    assert archive["missing"] == [parts[-2].name] and parts[-2].name in result["damage"]
    assert result["episodes"] + result["skipped"]["total"] == 3
    assert result["skipped"]["total"] > 0


def test_inspect_looks_at_the_pictures_of_an_archive(
    folders: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pack(folders["agibot_world"], tmp_path / "in" / "set.tar.gz", (1_999,))
    result = output(capsys, "data", "inspect", tmp_path / "in")
    assert result["grippers"]["state_left"] == {"open": 35.0, "closed": 120.0, "observed": True}
    assert result["example"]["cameras"] == {"head": "32x48", "hand_left": "32x48", "hand_right": "32x48"}
    assert (result["episodes"], result["damage"]) == (3, "")


def test_convert_writes_what_inspect_reads(
    folders: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = output(
        capsys,
        "data",
        "convert",
        folders["raw"],
        "--out",
        tmp_path / "out",
        "--codec",
        "h264",
        "--episodes",
        "0-1",
    )
    assert (made["episodes"], made["skipped"]["total"]) == (2, 0)
    seen = output(capsys, "data", "inspect", tmp_path / "out")
    assert (seen["layout"], seen["episodes"]) == ("lerobot_v3", 2)
    assert seen["example"]["joints"].endswith("left_gripper, right_gripper")


def test_a_command_without_a_result_exits_with_3_and_the_reasons(
    copied: Callable[[str], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = copied("lerobot_v2")
    for video in home.rglob("*.mp4"):
        video.unlink()
    write_tiny_vla(tmp_path / "vla")
    vla = ("--vla", tmp_path / "vla")
    for argv in (
        ("data", "convert", home),
        ("data", "convert", home, "--to", "demonstrations"),
        ("data", "embed", home, *vla),
        ("pretrain", "--data", home, *vla),
        ("pretrain", "--data", home, *vla, "--task", "t"),
    ):
        assert main([*map(str, argv), "--out", str(tmp_path / "out")]) == EXIT_EMPTY
        said = capsys.readouterr()
        assert said.out == ""
        assert "3 × lacks the video of top_head, hand_left, hand_right, e.g. episode_000000" in said.err


def test_embed_and_pretrain_share_options(
    folders: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_tiny_vla(tmp_path / "vla")
    common = ("--vla", tmp_path / "vla", "--joints", ",".join(ARM_JOINTS[7:]), "--instruction", INSTRUCTION)
    embedded = output(
        capsys, "data", "embed", folders["lerobot_v2"], "--out", tmp_path / "out/embeddings", *common
    )
    small = (
        "token.steps=3",
        "token.z_dim=4",
        "token.width=8",
        "token.layers=1",
        "token.heads=2",
        "token.batch=2",
    )
    sets = [text for value in small for text in ("--set", value)]
    result = output(
        capsys, "pretrain", "--data", folders["lerobot_v2"], "--out", tmp_path / "out", *common, *sets
    )
    assert result["data"]["kept_from_before"] == embedded["episodes"] == 3
    assert Path(result["token"]).name == "token_pick_block_color.safetensors"


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (("data", "convert", "x"), "--out DIR"),
        (("data", "inspect"), "name a folder"),
        (("data", "embed", "x", "--out", "y"), "--vla"),
        (("data", "download", "--out", "y"), "--include"),
        (("data", "download", "--out", "y", "--include", "*", "--dataset", "GenieSim"), "OWNER/NAME"),
        (("data", "inspect", "nowhere/x.tar.gz.000"), "there is no such file"),
        (("data", "inspect", "nowhere"), "not named like an archive"),
        (("pretrain", "--out", "y", "--vla", "builtin"), "--vla needs --data"),
    ],
)
def test_a_missing_option_is_one_line(
    argv: tuple[str, ...],
    message: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert message in error(capsys, *argv)
    assert not (tmp_path / "y").exists()


def test_the_modelscope_library_takes_what_it_is_given() -> None:
    from modelscope.hub.snapshot_download import dataset_snapshot_download

    inspect.signature(dataset_snapshot_download).bind(
        GENIE_SIM, revision=None, local_dir="x", allow_patterns=["a/*"], ignore_patterns=None, token=None
    )


def test_choices_of_the_help_are_those_of_the_code() -> None:
    assert data_cli.GENIE_SIM == GENIE_SIM
    parser_codecs = {"av1", "hevc", "h264"}
    assert parser_codecs == set(CODECS)
    assert inspect.signature(to_lerobot).parameters["version"].default == VERSIONS[0]


def test_the_benchmark_checks_what_it_reads() -> None:
    figures = bench.run(megabytes=1, rounds=1, layouts=("raw",))
    assert figures["raw"]["episodes"] == 2
    assert 0 < figures["raw"]["start_mb"] <= figures["raw"]["peak_mb"] < bench.MEMORY_MB
    assert figures["raw"]["mb_per_s"]["catalogue"] > 0
