"""LeRobot sets as others publish them: units, grippers, depth, keys and tables."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from foreign_set import FPS, JOINTS, ROWS, SIZE, Foreign, foreign

from rlt_ros.cli.main import main
from rlt_ros.data.source import open_source

__all__ = ["foreign"]


@pytest.mark.parametrize(
    ("names", "scale", "note"),
    [
        (JOINTS, 90.0, "has values beyond two turns (degrees?) where rad are expected"),
        (["x", "y", "roll"], 1.0, "has poses where joint positions in rad are expected"),
        (["arm.x", "arm.qw", "gripper"], 1.0, "has poses where joint positions in rad are expected"),
        (["shoulder_pan", "wrist_roll", "gripper"], 1.0, None),
        (["left_shoulder.roll", "left_shoulder.pitch", "gripper"], 1.0, None),
    ],
)
def test_units_are_warned_about(foreign: Foreign, names: list[str], scale: float, note: str | None) -> None:
    foreign.names = dict.fromkeys(foreign.names, names)
    foreign.state, foreign.action = foreign.state * np.float32(scale), foreign.action * np.float32(scale)
    assert list(foreign.read()[2]) == ([note] if note else [])


def test_grippers_of_the_convention_s_names_are_brought_to_it(foreign: Foreign) -> None:
    foreign.names = {key: ["j0", "left_gripper", "right_gripper"] for key in foreign.names}
    closing = np.linspace(0, 1, ROWS, dtype=np.float32)[:, None].repeat(2, axis=1)
    foreign.state = np.hstack([foreign.state[:, :1], 35 + 85 * closing])
    foreign.action = np.hstack([foreign.action[:, :1], closing])
    episode, _, notes = foreign.read()
    assert np.allclose(episode.position[:, 1:], closing, atol=1e-6) and notes == {}
    assert np.allclose(episode.command[:, 1:], closing)
    assert np.abs(episode.velocity[:, 1:]).max() < 2


def test_a_gripper_of_another_name_is_warned_about(foreign: Foreign) -> None:
    foreign.names = {key: ["j0", "j1", "gripper"] for key in foreign.names}
    foreign.state[:, 2] *= 100
    assert list(foreign.read()[2]) == ["has a gripper whose state and action differ in unit"]


@pytest.mark.parametrize(
    "feature",
    [
        {"info": {"is_depth_map": True}},
        {"info": {"video.is_depth_map": True}},
        {"video_info": {"video.is_depth_map": True}},
        {"is_depth_map": True},
        {"info": {"video.pix_fmt": "gray12le"}},
    ],
)
def test_depth_is_known_by_its_marker(foreign: Foreign, feature: Mapping[str, Any]) -> None:
    foreign.features = {"observation.images.range": {"dtype": "video", "shape": [*SIZE, 3], **feature}}
    episode, _, notes = foreign.read()
    assert list(episode.cameras) == ["front"]
    assert notes == {"has depth images, which are left out": 1}


def png(picture: np.ndarray, form: str) -> bytes:
    context: Any = av.CodecContext.create("png", "w")
    context.height, context.width, context.pix_fmt, context.time_base = (
        *picture.shape[:2],
        form,
        Fraction(1, FPS),
    )
    frame = av.VideoFrame.from_ndarray(picture, format=form)
    return b"".join(bytes(packet) for packet in [*context.encode(frame), *context.encode(None)])


def test_pictures_of_16_bits_in_a_table_are_depth_and_of_8_bits_are_not(foreign: Foreign) -> None:
    values = {
        "observation.images.far": png(np.full(SIZE, 1500, np.uint16), "gray16be"),
        "observation.images.side": png(np.full((*SIZE, 3), 7, np.uint8), "rgb24"),
    }
    foreign.features = {key: {"dtype": "image", "shape": [*SIZE, 3]} for key in values}
    foreign.columns = {key: [{"bytes": data, "path": None}] * ROWS for key, data in values.items()}
    episode, _, notes = foreign.read()
    assert set(episode.cameras) == {"front", "side"}
    assert notes == {"has depth images, which are left out": 1}


def test_states_and_actions_under_other_keys_are_named_by_options(
    foreign: Foreign, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = foreign.write()
    info = json.loads((home / "meta/info.json").read_text())
    path = home / "data/chunk-000/episode_000000.parquet"
    table = pq.read_table(path)
    info["features"]["actions"] = info["features"].pop("action")
    state = info["features"].pop("observation.state")
    for key, part, names in (("arm", slice(0, 2), JOINTS[:2]), ("hand", slice(2, 3), None)):
        info["features"][f"state.{key}"] = {**state, "shape": [len(range(3)[part])], "names": names}
        values = [row[part] if key == "arm" else row[2] for row in table["observation.state"].to_pylist()]
        table = table.append_column(f"state.{key}", pa.array(values))
    info["features"]["state.hand"]["names"] = ["j2"]
    table = table.rename_columns({"action": "actions"}).drop_columns(["observation.state"])
    (home / "meta/info.json").write_text(json.dumps(info))
    pq.write_table(table, path)
    assert main(["data", "inspect", str(home)]) == 2
    said = capsys.readouterr().err
    assert (
        "describes no observation.state; of numbers it has actions (3), state.arm (2), state.hand (1)" in said
    )
    assert "--state-key KEY" in said
    keys = ["--state-key", "state.arm,state.hand", "--action-key", "actions"]
    assert main(["data", "inspect", str(home), *keys, "--json"]) == 0
    episode, _, _ = foreign.read(state=("state.arm", "state.hand"), action=("actions",))
    assert np.array_equal(episode.position, foreign.state)
    assert np.array_equal(episode.command, foreign.action)


def test_a_task_that_only_the_rows_name_is_found(foreign: Foreign) -> None:
    foreign.tasks = []
    assert foreign.read()[0].instruction == "by its index"


def test_rows_beyond_the_pictures_of_an_episode_do_not_show_the_next_one(
    copied: Callable[[str], Path],
) -> None:
    path = copied("lerobot_v3") / "meta/episodes/chunk-000/file-000.parquet"
    rows = pq.read_table(path).to_pylist()
    for key in list(rows[0]):
        if key.endswith("to_timestamp"):
            rows[0][key] -= 2 / 30
    pq.write_table(pa.Table.from_pylist(rows), path)
    source = open_source([path.parents[3]])
    assert [episode.name for episode in source.episodes()] == ["episode_000001", "episode_000002"]
    assert list(source.skips.counts) == ["has a video that is shorter than its joint states"]


@pytest.mark.parametrize("group", [1, 5, 12, 36])
def test_every_row_group_is_decoded_once(
    copied: Callable[[str], Path], group: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = copied("lerobot_v3")
    before = [(one.position, one.command) for one in open_source([home]).episodes()]
    path = home / "data/chunk-000/file-000.parquet"
    pq.write_table(pq.read_table(path), path, row_group_size=group)
    decoded: list[int] = []

    class Counting(pq.ParquetFile):  # type: ignore[misc]  # pyarrow has no types
        def read_row_group(self, index: int, **options: Any) -> Any:
            decoded.append(index)
            return super().read_row_group(index, **options)

    monkeypatch.setattr(pq, "ParquetFile", Counting)
    source = open_source([home])
    source.gripper_scales()
    decoded.clear()
    after = [(one.position, one.command) for one in source.episodes()]
    assert all(
        np.array_equal(one, other)
        for a, b in zip(before, after, strict=True)
        for one, other in zip(a, b, strict=True)
    )
    # A group that two episodes share is kept; the survey of the grippers left the last one open.
    assert len(decoded) <= -(-36 // group) and len(set(decoded)) == len(decoded)


def test_every_refused_episode_is_listed_with_its_reason(
    copied: Callable[[str], Path], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    home = copied("lerobot_v2")
    for index in (0, 2):
        path = home / f"data/chunk-000/episode_{index:06d}.parquet"
        table = pq.read_table(path)
        place = table.schema.get_field_index("timestamp")
        pq.write_table(table.set_column(place, "timestamp", pa.array(np.arange(12) / 25)), path)
    out = tmp_path / "out"
    assert main(["data", "convert", str(home), "--out", str(out), "--codec", "h264"]) == 0
    said = capsys.readouterr().out
    for index in (0, 2):
        assert (
            f"left out: episode_{index:06d}: has stamps that do not fit fps 30 (timestamp is 0 s in row 0"
            in said
        )
    kept = json.loads((out / "meta/rlt_ros.json").read_text())
    assert len(kept["skipped"]["examples"]) == 2
