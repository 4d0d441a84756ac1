"""Every layout, unpacked and in split archives, gives the motion and the pictures that were recorded."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from rlt_ros.bench.synthetic_data import (
    INSTRUCTION,
    LAYOUTS,
    SyntheticSpec,
    brightness,
    pack,
    truth,
)
from rlt_ros.data.episode import RecordedEpisode
from rlt_ros.data.errors import DataError
from rlt_ros.data.source import DataSource, open_source

ODD = (997, 1501, 4099)
RECIPE = SyntheticSpec()


def check(source: DataSource, episode: RecordedEpisode) -> None:
    index = source.names.index(episode.name)
    expected = truth(index, RECIPE.rows)
    assert np.allclose(episode.position[:, :14], expected.position, atol=1e-6)
    assert np.allclose(episode.command[:, :14], expected.command, atol=1e-6)
    assert np.allclose(episode.position[:, 14:], expected.grip, atol=1e-6)
    assert np.allclose(episode.command[:, 14:], expected.grip, atol=1e-6)
    assert np.allclose(episode.velocity[:, :14], np.gradient(expected.position, 1 / 30, axis=0), atol=1e-4)
    assert (episode.hz, episode.instruction) == (30.0, INSTRUCTION)
    assert np.allclose(np.diff(episode.stamps), 1e9 / 30, atol=10)
    for row, pictures in zip(range(RECIPE.rows), episode.frames(range(RECIPE.rows)), strict=True):
        assert list(pictures) == ["head", "hand_left", "hand_right"]
        for camera, picture in enumerate(pictures.values()):
            assert picture.shape == (*RECIPE.size, 3)
            assert abs(float(picture.mean()) - brightness(index, camera, row)) < 3


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_folder_gives_what_was_recorded(layout: str, folders: dict[str, Path]) -> None:
    source = open_source([folders[layout]])
    episodes = 0
    for episode in source.episodes():
        check(source, episode)
        episodes += 1
    assert (source.layout, episodes, len(source.skips)) == (layout, RECIPE.episodes, 0)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_parts_of_odd_sizes_give_the_same_without_unpacking(
    layout: str, folders: dict[str, Path], tmp_path: Path
) -> None:
    parts = pack(folders[layout], tmp_path / "data" / "set.tar.gz", ODD)
    source = open_source([tmp_path / "data"], work=tmp_path / "work")
    assert len(parts) > 2 and source.layout == layout
    seen = 0
    for episode in source.episodes():
        check(source, episode)
        seen += 1
    assert seen == RECIPE.episodes
    assert not (tmp_path / "work" / "spool").exists()
    left = [path for path in (tmp_path / "work").rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in left) < 64_000


def test_meta_data_and_videos_in_archives_of_their_own_belong_together(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    folder = folders["lerobot_v3"]
    for name in ("meta", "data", "videos"):
        files = sorted(path for path in (folder / name).rglob("*") if path.is_file())
        pack(folder, tmp_path / "full" / f"{name}.tar.gz", ODD, order=files)
    source = open_source([tmp_path], work=tmp_path / "work")
    for episode in source.episodes():
        check(source, episode)
    assert len(source.skips) == 0


def test_descriptions_may_come_last(folders: dict[str, Path], tmp_path: Path) -> None:
    folder = folders["lerobot_v2"]
    files = sorted((path for path in folder.rglob("*") if path.is_file()), reverse=True)
    pack(folder, tmp_path / "set.tar.gz", ODD, order=files)
    source = open_source([tmp_path], work=tmp_path / "work")
    assert [episode.name for episode in source.episodes()] == source.names[::-1]


def test_only_chosen_episodes_are_taken_and_the_reading_stops_after_them(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    parts = pack(folders["raw"], tmp_path / "set.tar.gz", (5_000,))
    source = open_source(parts, work=tmp_path / "work")
    chosen = source.selected("0")
    source.gripper_scales()
    # Reading to the end fails.
    parts[-1].unlink()
    assert [episode.name for episode in source.episodes(chosen)] == ["1000"]


@pytest.mark.parametrize(
    ("wanted", "names"),
    [("", [0, 1, 2]), ("1", [1]), ("0-1", [0, 1]), ("2,0", [2, 0]), ("1-9", [1, 2]), ("episode_*2", [2])],
)
def test_episodes_are_chosen_by_position_and_name(
    folders: dict[str, Path], wanted: str, names: list[int]
) -> None:
    source = open_source([folders["lerobot_v2"]])
    assert source.selected(wanted) == [f"episode_{index:06d}" for index in names]


def test_choosing_nothing_says_what_there_is(folders: dict[str, Path]) -> None:
    with pytest.raises(DataError, match=r"there are 3 \(episode_000000"):
        open_source([folders["lerobot_v2"]]).selected("7-9")


def test_a_catalogue_is_made_once_and_again_when_a_part_changes(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    parts = pack(folders["raw"], tmp_path / "set.tar.gz", (20_000,))
    last = parts[-1].read_bytes()
    parts[-1].unlink()
    first = open_source(parts[:-1], work=tmp_path / "work")
    assert "ends in the middle" in first.container.damage
    before = [episode.name for episode in first.episodes()]
    assert 0 < len(before) < RECIPE.episodes
    parts[-1].write_bytes(last)
    second = open_source(parts, work=tmp_path / "work")
    assert second.container.damage == "" and len(second.names) == RECIPE.episodes
    third = open_source(parts, work=tmp_path / "work")
    assert (second.container.passes, third.container.passes) == (1, 0)
    assert third.names == second.names


def test_a_small_work_folder_means_more_passes_and_the_same_episodes(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    # Ordered by camera, so that all episodes are open until the last video comes.
    parts = pack(folders["lerobot_v2"], tmp_path / "set.tar.gz", ODD)
    passes = {}
    for spool in (1 << 30, 1):
        source = open_source(parts, work=tmp_path / f"work{spool}", spool=spool)
        source.gripper_scales()
        before = source.container.passes
        assert [episode.name for episode in source.episodes()] == source.names
        passes[spool] = source.container.passes - before
    assert passes == {1 << 30: 1, 1: RECIPE.episodes}


def test_rows_of_a_human_are_labelled(folders: dict[str, Path]) -> None:
    source = open_source([folders["lerobot_v3"]])
    human = {episode.name: np.flatnonzero(episode.human).tolist() for episode in source.episodes()}
    assert human == {"episode_000000": [], "episode_000001": [3, 4, 5], "episode_000002": []}


def test_vectors_without_descriptions_need_them_from_the_user(
    copied: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = copied("lerobot_v2")
    path = folder / "meta/info.json"
    info = json.loads(path.read_text())
    fields = {key: info["features"][key].pop("field_descriptions") for key in ("observation.state", "action")}
    path.write_text(json.dumps(info))
    with pytest.raises(DataError, match="--fields FILE"):
        open_source([folder])
    (tmp_path / "fields.json").write_text(json.dumps(fields))
    source = open_source([folder], fields=tmp_path / "fields.json")
    for episode in source.episodes():
        check(source, episode)


def reasons(source: DataSource) -> dict[str, int]:
    list(source.episodes())
    return dict(source.skips.counts)


def test_raw_episodes_that_cannot_be_used_are_counted_with_their_reason(
    copied: Callable[[str], Path],
) -> None:
    folder = copied("raw")
    with h5py.File(folder / "1000/aligned_joints.h5", "r+") as file:
        del file["4/action/joint/position"]
    (folder / "1001/camera/3/head_color.jpg").unlink()
    with h5py.File(folder / "1002/aligned_joints.h5", "r+") as file:
        file["2/state/joint/position"][...] = np.nan
    assert reasons(open_source([folder])) == {
        "lacks 4/action/joint/position": 1,
        "has another number of pictures than joint states": 1,
        "has NaN or infinite values in position": 1,
    }


def test_joint_files_that_lead_into_other_files_are_refused(copied: Callable[[str], Path]) -> None:
    folder = copied("agibot_world")
    paths = sorted(folder.rglob("*.h5"))
    with h5py.File(paths[0], "r+") as file:
        del file["state/joint/position"]
        file["state/joint/position"] = h5py.ExternalLink(str(paths[1]), "state/joint/position")
    with h5py.File(paths[1], "r+") as file:
        del file["timestamp"]
        file.create_dataset("timestamp", (RECIPE.rows,), "i8", external=[("/etc/hostname", 0, 96)])
    paths[2].write_bytes(paths[2].read_bytes()[:500])
    found = reasons(open_source([folder]))
    assert found["has a link at state/joint/position that leads elsewhere"] == 1
    assert found["has values at timestamp that are stored in another file"] == 1
    assert sum(found.values()) == 3


def test_commands_count_in_the_rows_of_their_index(copied: Callable[[str], Path]) -> None:
    folder = copied("agibot_world")
    with h5py.File(sorted(folder.rglob("*.h5"))[0], "r+") as file:
        command = file["action/joint/position"][...]
        del file["action/joint/position"], file["action/joint/index"]
        file["action/joint/index"] = np.array([2, 3, 7])
        file["action/joint/position"] = command[[2, 3, 7]]
    episode = next(open_source([folder]).episodes())
    what = truth(0, RECIPE.rows)
    assert np.allclose(episode.command[[2, 3, 7], :14], what.command[[2, 3, 7]], atol=1e-6)
    assert np.allclose(episode.command[4, :14], what.position[5], atol=1e-6)


def test_a_folder_of_anything_else_says_what_is_looked_for(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(DataError, match=r"no known layout.*meta/info\.json.*notes\.txt"):
        open_source([tmp_path])


def test_archives_in_several_folders_must_be_chosen(folders: dict[str, Path], tmp_path: Path) -> None:
    for name in ("one", "two"):
        pack(folders["raw"], tmp_path / name / "set.tar.gz", (1 << 20,))
    with pytest.raises(DataError, match=r"2 folders \(one, two"):
        open_source([tmp_path])


def test_the_measured_range_and_not_the_layout_decides_the_gripper(copied: Callable[[str], Path]) -> None:
    folder = copied("agibot_world")
    for path in folder.rglob("*.h5"):
        # Radians that fall as the gripper closes.
        with h5py.File(path, "r+") as file:
            grip = file["action/effector/position"][...]
            file["state/effector/position"][...] = 0.78 * (1 - grip)
    source = open_source([folder])
    for index, episode in enumerate(source.episodes()):
        assert np.allclose(episode.position[:, 14:], truth(index, RECIPE.rows).grip, atol=1e-5)
