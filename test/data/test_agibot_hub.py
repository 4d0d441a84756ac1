"""AgiBot World as its hub has it: archives in separate folders, ranges of episodes, files next to them."""

from __future__ import annotations

import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest

from rlt_ros.data.source import open_source
from rlt_ros.data.synthetic import Recipe, truth

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
    assert len(seen) == Recipe().episodes and not len(source.skips) and not source.container.damage
    for index, name in enumerate(source.names):
        np.testing.assert_allclose(
            seen[name].position[:, :14], truth(index, Recipe().rows).position, atol=1e-6
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
