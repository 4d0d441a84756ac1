"""Bags as recorders leave them: wrong metadata, journals, missing indexes, files in other places than listed.

Files are written by the libraries of the formats: rosbags, mcap and SQLite.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from bags import FILE, MCAP, SQLITE, START, write_bag
from hypothesis import given, settings
from hypothesis import strategies as st
from mcap.writer import CompressionType, IndexType
from mcap.writer import Writer as McapWriter

from rlt_ros.bags.bag_files import Bag
from rlt_ros.bags.errors import BagError
from rlt_ros.middleware.messages import JointState, message_type

MS = 1_000_000
TOPICS = {"/a", "/b"}
FIRST = 30
"""Messages of a topic in a file."""


def messages(first: int, count: int = FIRST) -> list[tuple[str, int, Any]]:
    """Two topics in turn, ten milliseconds apart."""
    String = message_type("std_msgs/msg/String")
    made: list[tuple[str, int, Any]] = []
    for number in range(first, first + count):
        made.append(("/a", 10 * number * MS, JointState(name=["j"], position=[float(number)])))
        made.append(("/b", (10 * number + 5) * MS, String(data=f"{number:0200}")))
    return made


def split_bag(folder: Path, *, files: int = 3, storage: Any = SQLITE, compression: Any = None) -> Path:
    """A bag of several files, as a recorder with a maximal size writes it."""
    info: dict[str, Any] = {}
    folder.mkdir()
    for number in range(files):
        part = folder.parent / f"{folder.name}_part{number}"
        options = {} if compression is None else {"compression": compression}
        write_bag(part, messages(number * FIRST), storage=storage, **options)
        (file,) = (path for path in part.iterdir() if path.name != "metadata.yaml")
        ends = "".join(file.suffixes)
        shutil.copyfile(file, folder / f"bag_{number}{ends}")
        one = yaml.safe_load((part / "metadata.yaml").read_text())["rosbag2_bagfile_information"]
        if not info:
            info = {**one, "relative_file_paths": []}
        info["relative_file_paths"].append(f"bag_{number}{ends}")
    info["duration"]["nanoseconds"] = (10 * (FIRST * files - 1) + 5) * MS
    for topic in info["topics_with_message_count"]:
        topic["message_count"] = FIRST * files
    write_metadata(folder, lambda _: info)
    return folder


def write_metadata(folder: Path, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    path = folder / "metadata.yaml"
    info = yaml.safe_load(path.read_text())["rosbag2_bagfile_information"] if path.exists() else {}
    path.write_text(yaml.safe_dump({"rosbag2_bagfile_information": change(info)}))


def times(bag: Bag) -> list[int]:
    return [(message.time - START) // MS for message in bag.messages(TOPICS)]


def expected(files: int = 3) -> list[int]:
    return [time // MS for _, time, _ in messages(0, FIRST * files)]


def digests(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def test_a_split_bag_is_whole(tmp_path: Path) -> None:
    bag = Bag(split_bag(tmp_path / "bag"))
    assert times(bag) == expected() and not bag.faults


def test_times_are_those_of_the_files_where_metadata_gives_only_the_last(tmp_path: Path) -> None:
    folder = split_bag(tmp_path / "bag")
    last = {"nanoseconds_since_epoch": START + 10 * 2 * FIRST * MS}
    write_metadata(
        folder, lambda info: {**info, "starting_time": last, "duration": {"nanoseconds": 295 * MS}}
    )
    bag = Bag(folder)
    assert (bag.start, bag.seconds) == (START, pytest.approx(0.895))
    assert times(bag) == expected()
    (fault,) = bag.faults
    assert "it gives 0.295 s from 1700000000.600, its files contain 0.895 s from 1700000000.000" in fault


def test_the_order_is_that_of_times_whatever_the_files_are_called(tmp_path: Path) -> None:
    folder = split_bag(tmp_path / "bag")
    (folder / "bag_0.db3").rename(folder / "bag_7.db3")
    (folder / "metadata.yaml").unlink()
    assert times(Bag(folder)) == expected()


def test_files_that_overlap_are_merged(tmp_path: Path) -> None:
    both = messages(0)
    folder = write_bag(tmp_path / "bag", both[0::2], storage=SQLITE)
    other = write_bag(tmp_path / "other", both[1::2], storage=MCAP)
    shutil.copyfile(other / "other.mcap", folder / "other.mcap")
    bag = Bag(folder)
    assert times(bag) == expected(1)
    assert any("other.mcap is not in metadata.yaml; it was read too" in fault for fault in bag.faults)
    assert any("it counts 0 messages of /b, its files contain 30" in fault for fault in bag.faults)


def test_counts_of_zero_do_not_hide_messages(tmp_path: Path) -> None:
    folder = split_bag(tmp_path / "bag")

    def zero(info: dict[str, Any]) -> dict[str, Any]:
        for topic in info["topics_with_message_count"]:
            topic["message_count"] = 0
        return {**info, "message_count": 0}

    write_metadata(folder, zero)
    bag = Bag(folder)
    assert times(bag) == expected()
    (fault,) = bag.faults
    assert "it counts 0 messages of /a, its files contain 90; 0 messages of /b, its files contain 90" in fault


@pytest.mark.parametrize("plain_as", ["listed compressed", "named compressed", "both"])
def test_a_listed_file_that_is_compressed_or_not_is_read(tmp_path: Path, plain_as: str) -> None:
    folder = split_bag(tmp_path / "bag", storage=MCAP, compression=FILE)
    plain = split_bag(tmp_path / "plain", storage=MCAP)
    for number in range(3):
        listed = folder / f"bag_{number}.mcap.zstd"
        if plain_as == "listed compressed":
            listed.unlink()
        target = listed if plain_as == "named compressed" else folder / f"bag_{number}.mcap"
        shutil.copyfile(plain / f"bag_{number}.mcap", target)
    bag = Bag(folder, work=tmp_path)
    assert times(bag) == expected()
    says = {
        "listed compressed": "the same file not compressed, was read in its place",
        "both": "was not read: bag_",
    }
    assert [says.get(plain_as, "") in fault for fault in bag.faults] == [True] * (
        0 if plain_as == "named compressed" else 3
    )


def test_a_file_that_is_listed_and_not_there_is_named_with_what_is_lost(tmp_path: Path) -> None:
    folder = split_bag(tmp_path / "bag")
    (folder / "bag_1.db3").unlink()
    bag = Bag(folder)
    assert len(times(bag)) == 4 * FIRST
    missing, lost = bag.faults
    assert "bag_1.db3 is missing" in missing and "it counts 90 messages of /a, its files contain 60" in lost


def test_a_copy_of_a_file_is_not_read_twice(tmp_path: Path) -> None:
    folder = split_bag(tmp_path / "bag")
    shutil.copyfile(folder / "bag_1.db3", folder / "bag_1 (copy).db3")
    bag = Bag(folder)
    assert times(bag) == expected()
    assert any("it is a copy of bag_1.db3; it was not read" in fault for fault in bag.faults)


# -- write-ahead logs -------------------------------------------------------------------------------------------------


def bag_with_log(tmp_path: Path) -> tuple[Path, Path]:
    """A bag whose recorder was killed: 30 of 90 messages of a topic are in the file, the rest in its log."""
    folder = tmp_path / "bag"
    whole = write_bag(tmp_path / "whole", messages(0, 3 * FIRST), storage=SQLITE) / "whole.db3"
    folder.mkdir()
    target = folder / "bag_0.db3"
    shutil.copyfile(whole, target)
    rows = sqlite3.connect(whole).execute("SELECT topic_id, timestamp, data FROM messages").fetchall()
    writer = sqlite3.connect(target, isolation_level=None)
    writer.execute("DELETE FROM messages WHERE timestamp >= ?", (START + 10 * FIRST * MS,))
    writer.execute("VACUUM")
    writer.execute("PRAGMA journal_mode=WAL")
    writer.execute("PRAGMA wal_autocheckpoint=0")
    for start in range(2 * FIRST, 6 * FIRST, 10):
        writer.execute("BEGIN")
        insert = "INSERT INTO messages (topic_id, timestamp, data) VALUES (?, ?, ?)"
        writer.executemany(insert, rows[start : start + 10])
        writer.execute("COMMIT")
    # A copy while it is open, as a kill leaves it.
    for path in list(folder.iterdir()):
        shutil.copyfile(path, tmp_path / path.name)
    writer.close()
    shutil.rmtree(folder)
    folder.mkdir()
    for name in ("bag_0.db3", "bag_0.db3-wal"):
        shutil.move(tmp_path / name, folder / name)
    return folder, folder / "bag_0.db3-wal"


@pytest.mark.parametrize("single", [False, True])
def test_messages_in_a_write_ahead_log_are_read_and_no_file_changes(tmp_path: Path, single: bool) -> None:
    folder, _ = bag_with_log(tmp_path)
    before = digests(folder)
    bag = Bag(folder / "bag_0.db3" if single else folder, work=tmp_path / "work")
    assert times(bag) == expected()
    assert digests(folder) == before and not list((tmp_path / "work").iterdir())
    assert any("bag_0.db3-wal next to it was merged" in fault for fault in bag.faults)


def test_a_write_ahead_log_that_is_damaged_is_named(tmp_path: Path) -> None:
    folder, log = bag_with_log(tmp_path)
    os.truncate(log, log.stat().st_size // 2)
    bag = Bag(folder)
    found = times(bag)
    assert found == expected()[: len(found)] and 2 * FIRST < len(found) < 6 * FIRST
    log.write_bytes(bytes(log.stat().st_size))
    bag = Bag(folder)
    assert times(bag) == expected(1)
    assert any("pages were usable" in fault for fault in bag.faults)


def test_a_file_whose_tables_are_in_a_lost_log_says_so(tmp_path: Path) -> None:
    path = tmp_path / "bag.db3"
    writer = sqlite3.connect(path)
    writer.execute("PRAGMA journal_mode=WAL")
    writer.close()
    with pytest.raises(BagError, match=r"copy bag\.db3-wal from the recording.s folder too"):
        Bag(path)


# -- MCAP -------------------------------------------------------------------------------------------------------------


def write_mcap(path: Path, order: list[int], **options: Any) -> Path:
    """A file of numbered messages, ten milliseconds apart, in an order."""
    with path.open("wb") as stream:
        writer = McapWriter(stream, **options)
        writer.start(profile="ros2")
        schema = writer.register_schema("std_msgs/msg/String", "ros2msg", b"string data")
        channels = [writer.register_channel(topic, "cdr", schema) for topic in ("/a", "/b")]
        for number in order:
            data = number.to_bytes(8, "little") + bytes((7 * number + i) % 256 for i in range(200))
            writer.add_message(channels[number % 2], START + 10 * number * MS, data, START)
        writer.finish()
    return path


WRITERS = st.fixed_dictionaries(
    {
        "chunk_size": st.sampled_from([500, 3000, 2**20]),
        "compression": st.sampled_from([CompressionType.NONE, CompressionType.ZSTD, CompressionType.LZ4]),
        "index_types": st.sampled_from(
            [IndexType.NONE, IndexType.CHUNK, IndexType.MESSAGE, IndexType.CHUNK | IndexType.MESSAGE]
        ),
        "repeat_channels": st.booleans(),
        "repeat_schemas": st.booleans(),
        "use_chunking": st.booleans(),
        "use_statistics": st.booleans(),
        "use_summary_offsets": st.booleans(),
        "enable_crcs": st.booleans(),
    }
)


@settings(max_examples=60)
@given(WRITERS, st.floats(0.0, 1.0), st.lists(st.integers(0, 58), max_size=4))
def test_mcap_is_read_whatever_of_its_indexes_is_left_out(
    tmp_path_factory: pytest.TempPathFactory, options: dict[str, Any], share: float, swaps: list[int]
) -> None:
    folder = tmp_path_factory.mktemp("mcap")
    order = list(range(60))
    for place in swaps:
        order[place], order[place + 1] = order[place + 1], order[place]
    path = write_mcap(folder / "bag.mcap", order, **options)
    bag = Bag(path)
    found = [int.from_bytes(message.data[:8], "little") for message in bag.messages(TOPICS)]
    assert sorted(found) == list(range(60)) and not bag.faults
    assert bag.topics["/a"].count == bag.topics["/b"].count == 30
    assert (bag.start, bag.end) == (START, START + 590 * MS)
    if options["use_chunking"]:
        assert found == sorted(found)
    os.truncate(path, round(share * path.stat().st_size))
    try:
        bag = Bag(path)
    except BagError as error:
        assert "cut off" in str(error) or "does not begin" in str(error)
        return
    part = [int.from_bytes(message.data[:8], "little") for message in bag.messages(TOPICS)]
    assert set(part) <= set(found) and len(set(part)) == len(part)
    assert len(part) == 60 or any("cut off" in fault for fault in bag.faults)


def test_what_is_read_is_compared_with_what_the_index_counts(tmp_path: Path) -> None:
    path = write_mcap(tmp_path / "bag.mcap", list(range(60)), chunk_size=3000)
    bag = Bag(path)
    data = bytearray(path.read_bytes())
    # Within the last chunk
    data[data.rindex(b"\x28\xb5\x2f\xfd") + 40] ^= 0xFF
    path.write_bytes(data)
    found = times(bag)
    assert 0 < len(found) < 60
    assert any("of its 30 messages of /a were read" in fault for fault in bag.faults)


def test_messages_that_are_not_in_cdr_are_left_out_and_named(tmp_path: Path) -> None:
    path = tmp_path / "bag.mcap"
    with path.open("wb") as stream:
        writer = McapWriter(stream)
        writer.start(profile="ros2")
        schema = writer.register_schema("std_msgs/msg/String", "ros2msg", b"string data")
        for topic, encoding in (("/a", "cdr"), ("/b", "json")):
            channel = writer.register_channel(topic, encoding, schema)
            writer.add_message(channel, START, bytes(8), START)
        writer.finish()
    bag = Bag(path)
    assert set(bag.topics) == {"/a"} and len(times(bag)) == 1
    assert any("/b is serialised as `json`" in fault for fault in bag.faults)
