"""LeRobot data sets: written, read again, and damaged in every way."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rlt_ros.bench.synthetic_data import SyntheticSpec, pack
from rlt_ros.data import lerobot_files
from rlt_ros.data.convert import to_demonstrations, to_lerobot
from rlt_ros.data.demonstrations import load_folder, save
from rlt_ros.data.episode import RecordedEpisode
from rlt_ros.data.errors import DataError, EpisodeError
from rlt_ros.data.lerobot import fill
from rlt_ros.data.lerobot_writer import LeRobotWriter
from rlt_ros.data.remux import copy_rows
from rlt_ros.data.source import DataSource, open_source
from rlt_ros.data.video import ArrayCamera, VideoCamera

RECIPE = SyntheticSpec()


def convert(source: DataSource, out: Path, version: str = "v3.0", **options: object) -> dict[str, object]:
    return to_lerobot(source, out, names=source.selected(), version=version, codec="h264", **options)  # type: ignore[arg-type]


def assert_same(one: RecordedEpisode, other: RecordedEpisode, *, tolerance: int = 0) -> None:
    assert (one.joints, one.hz, one.instruction, one.success) == (
        other.joints,
        other.hz,
        other.instruction,
        other.success,
    )
    for name in ("position", "velocity", "command", "human"):
        assert np.array_equal(getattr(one, name), getattr(other, name)), name
    rows = range(one.rows)
    for here, there in zip(one.frames(rows), other.frames(rows), strict=True):
        for camera in here:
            assert np.abs(here[camera].astype(int) - there[camera].astype(int)).max() <= tolerance


@pytest.mark.parametrize("version", ["v2.1", "v3.0"])
@pytest.mark.parametrize("layout", ["lerobot_v2", "lerobot_v3"])
def test_what_is_written_reads_back_equal(
    layout: str, version: str, folders: dict[str, Path], tmp_path: Path
) -> None:
    source = open_source([folders[layout]])
    result = convert(source, tmp_path / "out", version)
    assert (result["episodes"], result["frames"]) == (RECIPE.episodes, RECIPE.episodes * RECIPE.rows)
    back = open_source([tmp_path / "out"])
    assert back.layout == {"v2.1": "lerobot_v2", "v3.0": "lerobot_v3"}[version]
    # A stretch of a longer video starts at a key frame or is encoded again; either way it looks the same.
    for one, other in zip(source.episodes(), back.episodes(), strict=True):
        assert_same(one, other, tolerance=4)
    assert len(back.skips) == 0


def test_the_files_follow_the_library_s_format(folders: dict[str, Path], tmp_path: Path) -> None:
    """Names and types as huggingface/lerobot v0.4.4 has them; the library itself opened such a folder."""
    convert(open_source([folders["lerobot_v2"]]), tmp_path)
    info = json.loads((tmp_path / "meta/info.json").read_text())
    assert info["codebase_version"] == "v3.0" and info["fps"] == 30
    assert info["data_path"] == "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
    assert info["video_path"] == "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
    assert info["features"]["action"]["names"][:2] == ["idx21_arm_l_joint1.pos", "idx22_arm_l_joint2.pos"]
    assert info["features"]["observation.images.head"]["shape"] == [*RECIPE.size, 3]
    tasks = pq.read_table(tmp_path / "meta/tasks.parquet")
    assert json.loads(tasks.schema.metadata[b"pandas"])["index_columns"] == ["__index_level_0__"]
    episodes = pq.read_table(tmp_path / "meta/episodes/chunk-000/file-000.parquet").to_pylist()
    assert [(e["dataset_from_index"], e["dataset_to_index"]) for e in episodes] == [
        (0, 12),
        (12, 24),
        (24, 36),
    ]
    key = "videos/observation.images.head"
    assert [e[f"{key}/from_timestamp"] for e in episodes] == pytest.approx([0.0, 0.4, 0.8])
    table = pq.read_table(tmp_path / "data/chunk-000/file-000.parquet")
    assert table.schema.field("observation.state").type == pa.list_(pa.float32(), 32)
    assert table["index"].to_pylist() == list(range(36))
    assert table["timestamp"].to_numpy()[13] == np.float32(1 / 30)
    stats = json.loads((tmp_path / "meta/stats.json").read_text())
    action = np.stack(table["action"].to_numpy())
    assert stats["action"]["count"] == [36]
    assert np.allclose(stats["action"]["q99"], np.quantile(action, 0.99, axis=0), atol=1e-6)
    assert np.allclose(stats["action"]["std"], action.std(axis=0), atol=1e-6)
    assert np.shape(stats["observation.images.head"]["mean"]) == (3, 1, 1)


def test_files_are_split_at_the_library_s_sizes(
    folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lerobot_files, "DATA_BYTES", 4000)
    monkeypatch.setattr(lerobot_files, "VIDEO_BYTES", 4000)
    source = open_source([folders["lerobot_v2"]])
    convert(source, tmp_path)
    assert len(list((tmp_path / "data").rglob("*.parquet"))) > 1
    assert len(list((tmp_path / "videos/observation.images.head").rglob("*.mp4"))) > 1
    for one, other in zip(source.episodes(), open_source([tmp_path]).episodes(), strict=True):
        assert_same(one, other)


def test_a_stopped_conversion_goes_on_and_a_finished_one_is_not_touched(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    source = open_source([folders["lerobot_v2"]])
    writer = LeRobotWriter(tmp_path / "out", codec="h264", source=source.container.origin)
    writer.add(next(source.episodes()), source.fingerprint("episode_000000"))
    # The episode during which it was killed.
    (tmp_path / "out/.pieces/part").mkdir()
    result = convert(open_source([folders["lerobot_v2"]]), tmp_path / "out")
    assert (result["episodes"], result["kept_from_before"]) == (3, 1)
    assert not (tmp_path / "out/.pieces").exists()
    with pytest.raises(DataError, match="contains a finished data set"):
        convert(source, tmp_path / "out")


def test_a_missing_part_keeps_what_is_converted_until_it_is_there(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    parts = pack(folders["raw"], tmp_path / "in" / "set.tar.gz", (20_000,))
    last = parts[-1].read_bytes()
    parts[-1].unlink()
    with pytest.raises(DataError, match=r"missing.*--partial"):
        convert(open_source(parts[:-1], work=tmp_path / "w"), tmp_path / "out")
    assert not (tmp_path / "out/meta/info.json").exists()
    parts[-1].write_bytes(last)
    result = convert(open_source(parts, work=tmp_path / "w"), tmp_path / "out")
    assert result["episodes"] == 3 and int(str(result["kept_from_before"])) > 0


def test_a_partial_conversion_is_finished_only_when_asked_for(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    parts = pack(folders["raw"], tmp_path / "in" / "set.tar.gz", (20_000,))
    source = open_source(parts[:-1], work=tmp_path / "w")
    assert convert(source, tmp_path / "out", partial=True)["episodes"] == len(source.names) < 3


def test_demonstrations_become_lerobot_episodes_and_back(folders: dict[str, Path], tmp_path: Path) -> None:
    source = open_source([folders["agibot_world"]])
    result = to_demonstrations(source, tmp_path / "d", names=source.selected(), size=(16, 24), every=2)
    again = to_demonstrations(source, tmp_path / "d", names=source.selected(), size=(16, 24), every=2)
    assert (result["kept_from_before"], again["kept_from_before"], again["episodes"]) == (0, 3, 3)
    demonstrations = load_folder(tmp_path / "d")
    assert demonstrations[0].images["head"].shape == (6, 16, 24, 3)
    recorded = open_source([tmp_path / "d"], joints=tuple(f"j{index}" for index in range(16)))
    convert(recorded, tmp_path / "out")
    for demonstration, episode in zip(
        demonstrations, open_source([tmp_path / "out"]).episodes(), strict=True
    ):
        assert episode.success is True and episode.hz == 15
        assert np.array_equal(episode.position, demonstration.position[::2])
        assert np.array_equal(episode.command, demonstration.command[1::2])


def test_a_part_that_arrives_later_shifts_no_demonstration(folders: dict[str, Path], tmp_path: Path) -> None:
    files = sorted(path for path in folders["raw"].rglob("*") if path.is_file())
    last_first = [path for path in files if "2" in path.relative_to(folders["raw"]).parts[0]]
    assert 0 < len(last_first) < len(files)
    order = last_first + [path for path in files if path not in last_first]
    parts = pack(folders["raw"], tmp_path / "in" / "set.tar.gz", (20_000,), order=order)
    some = open_source(parts[: len(parts) // 2], work=tmp_path / "some")
    whole = open_source(parts, work=tmp_path / "whole")
    assert 0 < len(some.names) < len(whole.names)
    # The one that is there first is not the first in the end.
    assert whole.names.index(some.names[0]) != 0
    early, later = tmp_path / "early", tmp_path / "later"
    to_demonstrations(some, early, names=some.names, size=(16, 24))
    result = to_demonstrations(whole, early, names=whole.names, size=(16, 24))
    assert (result["episodes"], result["kept_from_before"]) == (3, len(some.names))
    to_demonstrations(whole, later, names=whole.names, size=(16, 24))
    for one, other in zip(load_folder(early), load_folder(later), strict=True):
        assert one.seed == other.seed
        assert np.array_equal(one.position, other.position)


def test_demonstrations_that_were_recorded_unevenly_are_counted(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    source = open_source([folders["agibot_world"]])
    to_demonstrations(source, tmp_path, names=source.selected("0"), size=(16, 24), every=1)
    (one,) = load_folder(tmp_path)
    steps = np.delete(one.image_steps, 3)
    images = {camera: np.delete(frames, 3, axis=0) for camera, frames in one.images.items()}
    save(dataclasses.replace(one, image_steps=steps, images=images), tmp_path)
    source = open_source([tmp_path])
    assert list(source.episodes()) == []
    assert source.skips.counts == {"has pictures at uneven control steps": 1}


def table_of(folder: Path, index: int) -> Path:
    return folder / f"data/chunk-000/episode_{index:06d}.parquet"


def spoil(path: Path, column: str, change: Callable[[np.ndarray], np.ndarray]) -> None:
    table = pq.read_table(path)
    values = change(np.stack(table[column].to_numpy()))
    flat = pa.array(values.reshape(-1))
    array = pa.FixedSizeListArray.from_arrays(flat, values.shape[1])
    pq.write_table(table.set_column(table.schema.get_field_index(column), column, array), path)


def test_episodes_that_cannot_be_used_are_counted_with_their_reason(copied: Callable[[str], Path]) -> None:
    folder = copied("lerobot_v2")

    def with_nan(values: np.ndarray) -> np.ndarray:
        values[4, 35] = np.nan
        return values

    spoil(table_of(folder, 0), "observation.state", with_nan)
    table = pq.read_table(table_of(folder, 1))
    pq.write_table(table.slice(0, 7), table_of(folder, 1))
    pq.write_table(table.drop_columns(["action"]), table_of(folder, 2))
    source = open_source([folder])
    assert list(source.episodes()) == []
    assert source.skips.counts == {
        "has NaN or infinite values in position": 1,
        "has another number of rows than its data set describes": 1,
        "lacks the columns action": 1,
    }


def test_files_that_are_missing_cut_off_or_of_another_width_are_counted(
    copied: Callable[[str], Path],
) -> None:
    folder = copied("lerobot_v2")
    table_of(folder, 0).write_bytes(table_of(folder, 0).read_bytes()[:-100])
    (folder / "videos/chunk-000/observation.images.hand_left/episode_000001.mp4").unlink()
    spoil(table_of(folder, 2), "action", lambda values: values[:, :30].copy())
    source = open_source([folder])
    assert list(source.episodes()) == []
    counts = {reason.split(" (")[0]: count for reason, count in source.skips.counts.items()}
    assert counts == {
        "lacks the video of hand_left": 1,
        "has a table that cannot be read": 1,
        "has vectors of another length in action": 1,
    }


@pytest.mark.parametrize("layout", ["lerobot_v2", "lerobot_v3"])
def test_episodes_without_a_task_are_counted_and_the_others_read(
    layout: str, copied: Callable[[str], Path]
) -> None:
    folder = copied(layout)
    info = json.loads((folder / "meta/info.json").read_text())
    info.pop("high_level_instruction", None)
    (folder / "meta/info.json").write_text(json.dumps(info))
    if layout == "lerobot_v2":
        path = folder / "meta/episodes.jsonl"
        entries = [json.loads(line) for line in path.read_text().splitlines()]
        entries[1]["tasks"] = []
        path.write_text("\n".join(map(json.dumps, entries)))
        # Otherwise the rows name their task by its index.
        (folder / "meta/tasks.jsonl").unlink()
    else:
        path = folder / "meta/episodes/chunk-000/file-000.parquet"
        rows = pq.read_table(path).to_pylist()
        rows[1]["tasks"] = []
        pq.write_table(pa.Table.from_pylist(rows), path)
    source = open_source([folder])
    assert [episode.name for episode in source.episodes()] == ["episode_000000", "episode_000002"]
    assert source.skips.counts == {"has no task": 1}


def test_a_video_that_is_too_short_is_found_when_its_pictures_are_wanted(
    copied: Callable[[str], Path],
) -> None:
    folder = copied("lerobot_v2")
    home = folder / "videos/chunk-000/observation.images.top_head"
    episode = next(open_source([folder]).episodes())
    short = VideoCamera(home / "episode_000000.mp4", fps=30, rows=6)
    assert copy_rows(short, folder / "short.mp4")
    shutil.move(folder / "short.mp4", home / "episode_000000.mp4")
    with pytest.raises(EpisodeError, match="shorter than its joint states"):
        list(episode.frames(range(RECIPE.rows)))


def test_videos_without_the_prefix_in_their_path_are_found(copied: Callable[[str], Path]) -> None:
    folder = copied("lerobot_v2")
    for camera in ("top_head", "hand_left", "hand_right"):
        (folder / f"videos/chunk-000/observation.images.{camera}").rename(
            folder / f"videos/chunk-000/{camera}"
        )
    source = open_source([folder])
    assert len(source.names) == 3 and len(source.skips) == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"features": []}, "describes no states and actions"),
        (
            {"features": {"observation.state": {"shape": [1e999], "dtype": "x"}}},
            "describes no action; of numbers it has nothing",
        ),
        ({"features": {"observation.state": 3}}, "describes no"),
        ({"chunks_size": "many"}, "`chunks_size` is 'many'"),
        ({"chunks_size": -1}, "`chunks_size` is -1"),
    ],
)
def test_a_description_of_the_wrong_form_is_an_error(
    copied: Callable[[str], Path], change: dict[str, object], message: str
) -> None:
    path = copied("lerobot_v2") / "meta/info.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(DataError, match=message):
        open_source([path.parents[1]])


@pytest.mark.parametrize("text", ["[" * 100_000, '{"episode_index": 1e999, "length": 1}'])
def test_a_line_that_no_program_wrote_is_an_error(copied: Callable[[str], Path], text: str) -> None:
    path = copied("lerobot_v2") / "meta/episodes.jsonl"
    path.write_text(text)
    with pytest.raises(DataError, match=r"line 1 of meta/episodes.jsonl is no episode"):
        open_source([path.parents[1]])


@pytest.mark.parametrize("name", ["meta/info.json", "meta/episodes.jsonl"])
def test_a_description_that_is_no_json_is_an_error(copied: Callable[[str], Path], name: str) -> None:
    folder = copied("lerobot_v2")
    (folder / name).write_text("<html>")
    with pytest.raises(DataError, match=name.replace(".", r"\.")):
        open_source([folder])


def test_a_path_template_can_name_only_its_places() -> None:
    assert fill("data/{episode_index:06d}.parquet", episode_index=7) == "data/000007.parquet"
    with pytest.raises(DataError, match="unknown place"):
        fill("{config}", episode_index=7)
    assert fill("{episode_index.__class__}", episode_index=7) == "{episode_index.__class__}"


def test_a_path_template_that_leads_out_finds_nothing(copied: Callable[[str], Path]) -> None:
    folder = copied("lerobot_v2")
    path = folder / "meta/info.json"
    info = json.loads(path.read_text())
    shutil.copy(table_of(folder, 0), folder.parent / "episode.parquet")
    path.write_text(json.dumps({**info, "data_path": "../episode.parquet"}))
    source = open_source([folder])
    assert source.names == [] and source.skips.counts == {"lacks its table": 3}


def episode(names: tuple[str, ...] = ("a", "b"), rows: int = 5) -> RecordedEpisode:
    values = np.random.default_rng(0).normal(size=(3, rows, len(names))).astype(np.float32)
    return RecordedEpisode(
        name="one",
        task="t",
        instruction="do it",
        hz=10.0,
        stamps=np.arange(rows, dtype=np.int64) * 100_000_000,
        joints=names,
        position=values[0],
        velocity=values[1],
        command=values[2],
        human=np.zeros(rows, np.bool_),
        success=None,
        cameras={"cam": ArrayCamera(np.zeros((rows, 16, 16, 3), np.uint8))},
    )


def test_an_episode_unlike_those_before_is_refused(tmp_path: Path) -> None:
    writer = LeRobotWriter(tmp_path, codec="h264")
    writer.add(episode())
    with pytest.raises(EpisodeError, match="differs"):
        writer.add(dataclasses.replace(episode(("a", "c")), name="two"))
    writer.add(dataclasses.replace(episode(), name="three"))
    assert writer.finish({})["total_episodes"] == 2


def test_a_joint_that_its_driver_wraps_is_read_without_a_seam(tmp_path: Path) -> None:
    true = np.linspace([2.8, 0.1], [3.6, 0.2], 9).astype(np.float32)
    wrapped = ((true + np.pi) % (2 * np.pi) - np.pi).astype(np.float32)
    writer = LeRobotWriter(tmp_path, codec="h264")
    writer.add(dataclasses.replace(episode(rows=9), position=wrapped, command=wrapped))
    writer.finish({})
    (read,) = open_source([tmp_path]).episodes()
    np.testing.assert_allclose(read.position, true, atol=1e-5)
    np.testing.assert_allclose(read.command, true, atol=1e-5)
    np.testing.assert_array_equal(read.position[:, 1], wrapped[:, 1])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"hz": 12.5}, "needs a whole number"),
        ({"cameras": {}}, "no camera"),
    ],
)
def test_what_lerobot_cannot_hold_is_refused(tmp_path: Path, change: dict[str, object], message: str) -> None:
    with pytest.raises(EpisodeError, match=message):
        LeRobotWriter(tmp_path).add(dataclasses.replace(episode(), **change))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"stamps": np.array([0, 1, 1, 2, 3])}, "do not increase"),
        ({"command": np.full((5, 2), np.inf, np.float32)}, "NaN or infinite values in command"),
        ({"position": np.zeros((4, 2), np.float32)}, "position of another length"),
        ({"human": np.zeros(4, np.bool_)}, "labels of another length"),
        ({"joints": ("a", "a")}, "twice"),
    ],
)
def test_an_episode_that_breaks_the_contract_is_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(EpisodeError, match=message):
        dataclasses.replace(episode(), **change)  # type: ignore[arg-type]


def test_joints_are_selected_by_name() -> None:
    part = episode(("a", "b", "c")).select(("c", "a"))
    assert np.array_equal(part.position, episode(("a", "b", "c")).position[:, [2, 0]])
    with pytest.raises(EpisodeError, match=r"lacks the joints d \(it has a, b\)"):
        episode().select(("d",))
