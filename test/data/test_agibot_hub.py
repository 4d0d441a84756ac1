"""AgiBot World as its hub has it: archives in separate folders, ranges of episodes, files next to them."""

from __future__ import annotations

import json
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from rlt_ros.bench.synthetic_data import SyntheticSpec, truth
from rlt_ros.data.agibot import ARM_JOINTS, HANDS_LEFT_OUT
from rlt_ros.data.grippers import GripperScale
from rlt_ros.data.source import open_source

RANGE = "648642-648644"


def archive(path: Path, folder: Path, *, below: str = "") -> None:
    """The content of a folder as an archive, and the folder gone."""
    with tarfile.open(path, "w") as tar:
        for item in sorted(folder.iterdir()):
            tar.add(item, arcname=below + item.name)
    shutil.rmtree(folder)


@pytest.fixture
def folder(folders: dict[str, Path], tmp_path: Path) -> Path:
    copied = tmp_path / "set"
    shutil.copytree(folders["agibot_world"], copied)
    return copied


def assert_whole(path: Path, work: Path) -> None:
    source = open_source([path], work=work)
    assert source.layout == "agibot_world"
    seen = {episode.name: episode for episode in source.episodes() if list(episode.frames([0]))}
    assert len(seen) == SyntheticSpec().episodes and not len(source.skips) and not source.container.damage
    for index, name in enumerate(source.names):
        np.testing.assert_allclose(
            seen[name].position[:, :14], truth(index, SyntheticSpec().rows).position, atol=1e-6
        )


def test_videos_may_lie_in_folders_of_ranges(folder: Path, tmp_path: Path) -> None:
    task = folder / "observations" / "327"
    task.rename(folder / "all")
    task.mkdir()
    (folder / "all").rename(task / RANGE)
    assert_whole(folder, tmp_path / "work")


@pytest.mark.parametrize("within", ["", f"{RANGE}/", "327/", "observations/327/"])
@pytest.mark.parametrize("root", ["", "AgiBotWorld-Alpha/"])
def test_archives_of_videos_and_joints_in_separate_folders_belong_together(
    folder: Path, tmp_path: Path, within: str, root: str
) -> None:
    archive(folder / f"{RANGE}.tar", folder / "observations" / "327", below=within)
    (folder / "observations" / "327").mkdir()
    shutil.move(folder / f"{RANGE}.tar", folder / "observations" / "327" / f"{RANGE}.tar")
    archive(folder / "327.tar", folder / "proprio_stats")
    (folder / "proprio_stats").mkdir()
    shutil.move(folder / "327.tar", folder / "proprio_stats" / "327.tar")
    # Parameters of cameras are archived too, and not needed.
    (folder / "parameters").mkdir()
    (folder / "parameters" / "327.tar").write_bytes(b"no archive")
    if root:
        (tmp_path / "hub").mkdir()
        folder.rename(tmp_path / "hub" / root.strip("/"))
        folder = tmp_path / "hub"
    assert_whole(folder, tmp_path / "work")


def test_what_is_unpacked_and_what_is_not_belong_together(folder: Path, tmp_path: Path) -> None:
    archive(folder / "one.tar", folder / "observations" / "327" / "648643", below="648643/")
    shutil.move(folder / "one.tar", folder / "observations" / "327" / "648643-648643.tar")
    assert_whole(folder, tmp_path / "work")


def test_episodes_whose_archive_is_not_there_are_named(folder: Path, tmp_path: Path) -> None:
    archive(folder / "one.tar", folder / "observations" / "327" / "648643", below="648643/")
    (folder / "one.tar").unlink()
    source = open_source([folder], work=tmp_path / "work")
    assert [episode.name for episode in source.episodes()] == ["327/648642", "327/648644"]
    (example,) = source.skips.examples
    assert example == ("327/648643: lacks its videos (expected observations/327/648643/videos/*_color.mp4)")


# -- joint files ------------------------------------------------------------------------------------------------------


def changed(folder: Path, path: str, change: Callable[[np.ndarray, int], np.ndarray]) -> None:
    """Change an array of every episode's joint file."""
    for number, file in enumerate(sorted(folder.rglob("proprio_stats.h5"))):
        with h5py.File(file, "r+") as arrays:
            values = change(np.array(arrays[path]), number)
            del arrays[path]
            arrays[path] = values


def test_arms_with_dexterous_hands_are_used_without_them(folder: Path) -> None:
    for kind in ("state", "action"):
        changed(folder, f"{kind}/effector/position", lambda values, _: np.zeros((len(values), 12)))
    for path in folder.rglob("hand_left_color.mp4"):
        path.rename(path.with_name("hand_left_fisheye_color.mp4"))
    source = open_source([folder])
    for index, episode in enumerate(source.episodes()):
        assert episode.joints == ARM_JOINTS
        assert list(episode.cameras) == ["head", "hand_right", "hand_left_fisheye_color"]
        expected = truth(index, SyntheticSpec().rows)
        np.testing.assert_allclose(episode.position, expected.position, atol=1e-6)
        np.testing.assert_allclose(episode.command, expected.command, atol=1e-6)
    assert len(source.skips) == 0
    assert source.notes.counts == {
        "has dexterous hands, which are left out; its arms and cameras are used": 3
    }


def test_an_arm_that_was_never_commanded_goes_where_it_went(folder: Path) -> None:
    changed(folder, "action/joint/position", lambda values, _: values[:0])
    changed(folder, "action/joint/index", lambda values, _: values[:0])
    source = open_source([folder])
    for index, episode in enumerate(source.episodes()):
        position = truth(index, SyntheticSpec().rows).position
        np.testing.assert_allclose(episode.command[:-1, :14], position[1:], atol=1e-6)
    assert source.notes.counts == {"has no arm commands; each row's is the next row's position": 3}


def test_an_idle_gripper_has_the_scale_of_the_other(folder: Path) -> None:
    rng = np.random.default_rng(0)

    def idle(values: np.ndarray, _: int) -> np.ndarray:
        values[:, 0] = rng.uniform(35, 37, len(values)) if values.max() > 1 else 0
        return values

    for kind in ("state", "action"):
        changed(folder, f"{kind}/effector/position", idle)
    source = open_source([folder])
    scales = source.gripper_scales()
    assert scales is not None
    assert scales.state == (GripperScale(35, 120, observed=False), GripperScale(35, 120))
    assert scales.action == (GripperScale(0, 1, observed=False), GripperScale(0, 1))
    for episode in source.episodes():
        assert episode.position[:, 14].max() < 0.025 and episode.position[:, 15].max() == 1


def test_scales_are_of_all_episodes_and_not_of_glitches(folder: Path) -> None:
    def partial(values: np.ndarray, number: int) -> np.ndarray:
        values = np.repeat(values, 100, axis=0)
        grip = (values - 35) / 85
        # The last episode alone closes; one value of the first is a glitch.
        values = 35 + grip * (85 if number == 2 else 40)
        values[0] = 5000 if number == 0 else values[0]
        return values

    for path in ("timestamp", "state/joint/position", "action/joint/position", "action/effector/position"):
        changed(folder, path, lambda values, _: np.repeat(values, 100, axis=0))
    changed(folder, "timestamp", lambda values, _: values[0] + np.arange(len(values)) * 33_333_333)
    changed(folder, "action/joint/index", lambda values, _: np.arange(100 * len(values)))
    changed(folder, "state/effector/position", partial)
    scales = open_source([folder]).gripper_scales()
    assert scales is not None and scales.state == (GripperScale(35, 120), GripperScale(35, 120))


def test_wider_values_revise_the_scales_and_are_noted(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rlt_ros.data.source.MAX_SURVEYED", 2)
    changed(
        folder,
        "state/effector/position",
        lambda values, number: 35 + (values - 35) * (1.0 if number == 1 else 0.5),
    )
    source = open_source([folder])
    first, second, third = (episode.position[:, 14:] for episode in source.episodes())
    # The first and the last surveyed episode.
    assert first.max() == 1
    assert second.max() == 1 and third.max() == pytest.approx(0.5, abs=1e-6)
    (example,) = source.notes.examples
    assert "327/648643: has wider gripper values" in example and "35 to 77.5 became 35 to 120" in example


def test_gripper_values_of_another_unit_are_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rlt_ros.data.source.MAX_SURVEYED", 2)
    changed(folder, "state/effector/position", lambda values, number: values * (1000 if number == 1 else 1))
    source = open_source([folder])
    assert [episode.name for episode in source.episodes()] == ["327/648642", "327/648644"]
    assert "has gripper values far outside those of other episodes" in source.skips.examples[0]


def test_scales_of_archives_are_kept_and_taken_again_when_files_change(folder: Path, tmp_path: Path) -> None:
    archive(folder / "327.tar", folder / "proprio_stats")
    (folder / "proprio_stats").mkdir()
    shutil.move(folder / "327.tar", folder / "proprio_stats" / "327.tar")
    passes = []
    for _ in range(2):
        source = open_source([folder], work=tmp_path / "work")
        first, before = source.gripper_scales(), source.fingerprint("327/648642")
        passes.append(source.container._archives.passes)
    assert passes == [2, 0]
    again = open_source([folder], work=tmp_path / "work")
    assert again.gripper_scales() == first and again.fingerprint("327/648642") == before


def test_raw_episodes_with_dexterous_hands_are_used_without_them(copied: Callable[[str], Path]) -> None:
    folder = copied("raw")
    for file in folder.rglob("aligned_joints.h5"):
        with h5py.File(file, "r+") as arrays:
            for path in [
                f"{row}/{kind}/{side}_effector/position"
                for row in range(SyntheticSpec().rows)
                for kind in ("state", "action")
                for side in ("left", "right")
            ]:
                del arrays[path]
                arrays[path] = np.zeros(6)
    source = open_source([folder])
    for index, episode in enumerate(source.episodes()):
        assert episode.joints == ARM_JOINTS
        np.testing.assert_allclose(episode.position, truth(index, SyntheticSpec().rows).position, atol=1e-6)
    assert len(source.skips) == 0 and source.notes.counts == {HANDS_LEFT_OUT: 3}


def test_lerobot_sets_with_dexterous_hands_are_used_without_them(copied: Callable[[str], Path]) -> None:
    folder = copied("lerobot_v2")
    info = json.loads((folder / "meta/info.json").read_text())
    for feature, kind in (("observation.state", "state"), ("action", "action")):
        fields = info["features"][feature]["field_descriptions"]
        for side in ("left", "right"):
            fields[f"{kind}/{side}_effector/position"] = {"indices": [0, 1, 2, 3, 4, 5]}
    (folder / "meta/info.json").write_text(json.dumps(info))
    source = open_source([folder])
    for index, episode in enumerate(source.episodes()):
        assert episode.joints == ARM_JOINTS
        np.testing.assert_allclose(episode.position, truth(index, SyntheticSpec().rows).position, atol=1e-6)
    assert len(source.skips) == 0 and source.notes.counts[HANDS_LEFT_OUT] == 3
