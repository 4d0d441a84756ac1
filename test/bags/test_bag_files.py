"""Bags that `ros2 bag record` of Jazzy wrote, whole and damaged (`golden/`: 60 joint states, 30 pictures, 3 notes)."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from rlt_ros.bags.bag_files import Bag
from rlt_ros.bags.errors import BagError
from rlt_ros.middleware.dds.message import deserialize_message, message_class

GOLDEN = Path(__file__).with_name("golden")
NAMES = ("bag_mcap", "bag_mcap_zstd", "bag_sqlite3", "bag_sqlite3_zstd")
COUNTS = {"/joint_states": 60, "/camera/compressed": 30, "/note": 3}


def copied(name: str, tmp_path: Path) -> tuple[Path, Path]:
    """A bag of its own, and its one file."""
    folder = tmp_path / name
    shutil.copytree(GOLDEN / name, folder)
    (file,) = (path for path in folder.iterdir() if path.name != "metadata.yaml")
    return folder, file


def assert_whole(bag: Bag) -> None:
    assert {name: topic.count for name, topic in bag.topics.items()} == COUNTS
    messages = list(bag.messages({"/joint_states"}))
    kind = message_class("sensor_msgs/msg/JointState")
    read = [deserialize_message(message.data, kind) for message in messages]
    assert [one.position[1] for one in read] == pytest.approx([i / 60 for i in range(60)])
    times = [message.time for message in messages]
    assert times == sorted(times) and bag.start <= times[0] <= times[-1] <= bag.end


@pytest.mark.parametrize("name", NAMES)
def test_what_ros_recorded_is_read(name: str, tmp_path: Path) -> None:
    folder, file = copied(name, tmp_path)
    whole, alone = Bag(folder, work=tmp_path / "work"), Bag(file, work=tmp_path / "work")
    for bag in (whole, alone):
        assert_whole(bag)
        assert bag.faults == []
    assert whole.identity() == alone.identity()
    # Decompressed files are removed.
    assert not list((tmp_path / "work").glob("*"))


@pytest.mark.parametrize("name", NAMES)
def test_without_metadata_all_is_read_and_the_remedy_said(name: str, tmp_path: Path) -> None:
    folder, _ = copied(name, tmp_path)
    (folder / "metadata.yaml").unlink()
    bag = Bag(folder, work=tmp_path)
    assert_whole(bag)
    assert [("is missing" in fault, "ros2 bag reindex" in fault) for fault in bag.faults] == [(True, True)]


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("name", NAMES)
def test_a_file_that_is_cut_off_is_an_error_or_said(name: str, share: float, tmp_path: Path) -> None:
    folder, file = copied(name, tmp_path)
    data = file.read_bytes()
    file.write_bytes(data[: int(share * len(data))])
    try:
        bag = Bag(folder, work=tmp_path)
    except BagError as error:
        # The tables, the only chunk or the only block of a small file are in the missing part.
        assert (share < 0.9 or name == "bag_sqlite3_zstd") and str(file) in str(error)
        return
    found = list(bag.messages(set(COUNTS)))
    said = any(str(file) in fault and "messages before" in fault for fault in bag.faults)
    differs = any("it counts" in fault for fault in bag.faults)
    assert (said and (differs or len(found) == 93)) or len(found) == 93
    whole = list(Bag(GOLDEN / name).messages(set(COUNTS)))
    assert set(found) <= set(whole)


def test_metadata_leads_nowhere_else(tmp_path: Path) -> None:
    folder, file = copied("bag_mcap", tmp_path)
    outside = tmp_path / file.name
    file.rename(outside)
    metadata = folder / "metadata.yaml"
    metadata.write_text(metadata.read_text().replace(f"- {file.name}", f"- ../{file.name}"))
    with pytest.raises(BagError, match=r"holds no messages.*is missing"):
        Bag(folder)


@pytest.mark.parametrize("text", ["", "a: [", "rosbag2_bagfile_information: 3", "- 1"])
def test_metadata_that_says_nothing_is_done_without(text: str, tmp_path: Path) -> None:
    folder, _ = copied("bag_sqlite3", tmp_path)
    (folder / "metadata.yaml").write_text(text)
    assert_whole(Bag(folder))


def test_what_is_no_bag_is_told(tmp_path: Path) -> None:
    (tmp_path / "x.txt").write_text("x")
    (tmp_path / "x.mcap").write_text("no bag at all")
    for path, says in (
        (tmp_path / "none", "there is no bag"),
        (tmp_path / "x.txt", "is no bag; give a folder"),
        (tmp_path / "x.mcap", "does not begin as an MCAP file does"),
    ):
        with pytest.raises(BagError, match=says):
            Bag(path)
