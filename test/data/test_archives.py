"""Split archives as streams: contents, hostile archives, and damages."""

from __future__ import annotations

import contextlib
import gzip
import io
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlt_ros.data import archive as archive_module
from rlt_ros.data import inflate
from rlt_ros.data.archive import Archives
from rlt_ros.data.container import EpisodeRef
from rlt_ros.data.errors import DamagedArchiveError, DataError, MissingPartError, OversizeError, Skips
from rlt_ros.data.inflate import InflatedReader
from rlt_ros.data.parts import group_parts
from rlt_ros.data.tar import members


def tar_bytes(files: dict[str, bytes], format: int = tarfile.GNU_FORMAT) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=format) as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return stream.getvalue()


def parts_of(folder: Path, data: bytes, sizes: Sequence[int], name: str = "set.tar.gz") -> list[Path]:
    paths: list[Path] = []
    start = 0
    while start < len(data):
        size = sizes[len(paths) % len(sizes)]
        paths.append(folder / f"{name}.{len(paths):03d}")
        paths[-1].write_bytes(data[start : start + size])
        start += size
    return paths


def read_all(paths: Sequence[Path], rejected: Skips | None = None) -> dict[str, bytes]:
    (archive,) = group_parts(paths)
    skips = Skips() if rejected is None else rejected
    return {member.name: member.read(limit=1 << 30) for member in members(InflatedReader(archive), skips)}


NAMES = st.from_regex(r"[a-z0-9é](/?[a-zA-Z0-9_é]){0,180}", fullmatch=True)


@settings(max_examples=40)
@given(
    files=st.dictionaries(NAMES, st.binary(max_size=1500), max_size=6),
    format=st.sampled_from([tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]),
    sizes=st.lists(st.integers(1, 700), min_size=1, max_size=3),
    zipped=st.booleans(),
)
def test_any_archive_cut_anywhere_gives_its_files(
    files: dict[str, bytes], format: int, sizes: list[int], zipped: bool
) -> None:
    data = tar_bytes(files, format)
    with tempfile.TemporaryDirectory() as folder:
        paths = parts_of(Path(folder), gzip.compress(data) if zipped else data, [8 * size for size in sizes])
        assert read_all(paths) == files


def test_an_archive_of_the_systems_tar_is_read(tmp_path: Path) -> None:
    deep = tmp_path / "in" / ("folder_of_some_length/" * 8)
    deep.mkdir(parents=True)
    (deep / ("x" * 120 + ".bin")).write_bytes(b"deep")
    (tmp_path / "in" / "empty").write_bytes(b"")
    subprocess.run(["tar", "-czf", tmp_path / "a.tar.gz", "-C", tmp_path / "in", "."], check=True)
    found = read_all([tmp_path / "a.tar.gz"])
    assert found == {f"{deep.relative_to(tmp_path / 'in')}/{'x' * 120}.bin": b"deep", "empty": b""}


def test_several_gzip_members_are_one_stream(tmp_path: Path) -> None:
    data = tar_bytes({"a": b"1" * 5000, "b": b"2" * 5000})
    zipped = gzip.compress(data[:3000]) + gzip.compress(data[3000:]) + bytes(700)
    assert read_all(parts_of(tmp_path, zipped, [101])) == {"a": b"1" * 5000, "b": b"2" * 5000}


FILES = {f"file_{index}": bytes([index]) * 20_000 for index in range(6)}


def incompressible() -> dict[str, bytes]:
    import random

    source = random.Random(0)
    return {f"file_{index}": source.randbytes(20_000) for index in range(6)}


def test_a_missing_part_is_named_and_what_lies_before_can_be_used(tmp_path: Path) -> None:
    files = incompressible()
    paths = parts_of(tmp_path, gzip.compress(tar_bytes(files)), [30_011])
    paths[2].unlink()
    (archive,) = group_parts([path for path in paths if path.exists()])
    assert archive.missing == ("set.tar.gz.002",)
    got = {}
    with pytest.raises(MissingPartError, match=r"set\.tar\.gz\.002 is missing, after byte 60022"):
        for member in members(InflatedReader(archive), Skips()):
            got[member.name] = member.read(limit=1 << 20)
    assert got == {name: files[name] for name in list(files)[: len(got)]}
    assert len(got) == 2


def test_without_the_first_part_nothing_is_guessed(tmp_path: Path) -> None:
    paths = parts_of(tmp_path, gzip.compress(tar_bytes(incompressible())), [30_011])
    with pytest.raises(MissingPartError, match=r"set\.tar\.gz\.000 is missing, after byte 0"):
        read_all(paths[1:])


def test_a_missing_last_part_shows_as_a_stream_that_ends_in_the_middle(tmp_path: Path) -> None:
    paths = parts_of(tmp_path, gzip.compress(tar_bytes(incompressible())), [30_011])
    with pytest.raises(DamagedArchiveError, match=r"ends in the middle.*set\.tar\.gz\.002.*higher numbers"):
        read_all(paths[:3])


def test_a_part_that_was_cut_off_is_named(tmp_path: Path) -> None:
    paths = parts_of(tmp_path, gzip.compress(tar_bytes(incompressible())), [30_011])
    paths[1].write_bytes(paths[1].read_bytes()[:-1000])
    with pytest.raises(DamagedArchiveError, match=r"set\.tar\.gz\.001 is shorter than other parts"):
        read_all(paths)


def test_a_damaged_byte_is_located(tmp_path: Path) -> None:
    zipped = bytearray(gzip.compress(tar_bytes({f"{i}": b"%d," % i * 9000 for i in range(300)})))
    zipped[len(zipped) // 2 : len(zipped) // 2 + 8] = b"\xff" * 8
    paths = parts_of(tmp_path, bytes(zipped), [len(zipped) // 5 + 1])
    with pytest.raises(DamagedArchiveError, match=r"(byte \d+ of set\.tar\.gz\.00\d)"):
        read_all(paths)


@pytest.mark.parametrize("cut", [1, 100, 511, 513, 20_700])
def test_a_tar_that_ends_inside_a_member_is_an_error(tmp_path: Path, cut: int) -> None:
    data = tar_bytes(incompressible())[:cut]
    with pytest.raises(DamagedArchiveError, match=r"set\.tar"):
        read_all(parts_of(tmp_path, gzip.compress(data), [10_000]))


def test_what_is_no_archive_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DamagedArchiveError, match="no tar header"):
        read_all(parts_of(tmp_path, b"<html>not found</html>" * 100, [512]))


def hostile() -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:

        def add(name: str, kind: bytes = tarfile.REGTYPE, link: str = "", data: bytes = b"evil") -> None:
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, link
            info.size = len(data) if kind == tarfile.REGTYPE else 0
            tar.addfile(info, io.BytesIO(data) if info.size else None)

        add("../outside")
        add("a/../../outside")
        add("/outside")
        add("C:/outside")
        add("..\\outside")
        add("new\nline")
        add("link", tarfile.SYMTYPE, "/etc/passwd")
        add("hard", tarfile.LNKTYPE, "../outside")
        add("device", tarfile.CHRTYPE)
        add("block", tarfile.BLKTYPE)
        add("pipe", tarfile.FIFOTYPE)
        add("link/below", data=b"through a link")
        add("./meta/info.json", data=b"{}")
    return stream.getvalue()


def test_hostile_members_are_counted_and_nothing_leaves_the_work_folder(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    paths = parts_of(home, gzip.compress(hostile()), [97])
    before = sorted(tmp_path.rglob("*"))
    work = tmp_path / "work"
    container = Archives(group_parts(paths), work)
    assert set(container.files) == {"link/below", "meta/info.json"}
    assert container.rejected.counts.total() == 11
    assert container.rejected.counts["has a name that leads out of its folder"] == 2
    refs = [EpisodeRef("one", tuple(container.files))]
    for _, files in container.episodes(refs):
        assert files.path("link/below").read_bytes() == b"through a link"
        assert files.path("link/below").parent == work / "spool"
    assert sorted(path for path in tmp_path.rglob("*") if work not in (path, *path.parents)) == before


def test_a_bomb_is_not_inflated_to_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inflate, "RATIO_WINDOW", 1 << 23)
    zipped = gzip.compress(tar_bytes({"zeros": bytes(40 << 20)}), 9)
    (archive,) = group_parts(parts_of(tmp_path, zipped, [7777]))
    reader = InflatedReader(archive)
    with pytest.raises(OversizeError, match="no recording does that"):
        for member in members(reader, Skips()):
            member.skip()
    assert reader.offset < 20 << 20


def test_a_bomb_of_many_members_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inflate, "RATIO_WINDOW", 1 << 23)
    data = tar_bytes({"zeros": bytes(40 << 20)})
    # Below the window
    step = 1 << 22
    zipped = b"".join(gzip.compress(data[start : start + step], 9) for start in range(0, len(data), step))
    with pytest.raises(OversizeError, match="no recording does that"):
        read_all(parts_of(tmp_path, zipped, [7777]))


def test_descriptions_that_would_fill_the_disk_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive_module, "MAX_DESCRIPTIONS", 1000)
    data = tar_bytes({f"meta/{index}.json": bytes(300) for index in range(4)})
    with pytest.raises(OversizeError, match="descriptions exceed 1000 bytes"):
        Archives(group_parts(parts_of(tmp_path, gzip.compress(data), [999])), tmp_path / "work")


def test_a_size_of_endless_digits_is_an_error_of_ours(tmp_path: Path) -> None:
    record = b" size=" + b"9" * 5000 + b"\n"
    length = len(record) + 4
    info = tarfile.TarInfo("pax")
    info.type, info.size = tarfile.XHDTYPE, length
    record = b"%d" % length + record
    padded = record + bytes(-len(record) % 512)
    data = info.tobuf(tarfile.USTAR_FORMAT) + padded + tar_bytes({"a": b"1"})
    with pytest.raises(DamagedArchiveError, match="the pax size"):
        read_all(parts_of(tmp_path, gzip.compress(data), [999]))


def test_repetitive_but_honest_data_is_no_bomb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inflate, "RATIO_WINDOW", 1 << 20)
    text = b"".join(b"%d 0.125\n" % (index // 7) for index in range(400_000))
    assert read_all(parts_of(tmp_path, gzip.compress(tar_bytes({"log": text})), [9999])) == {"log": text}


@pytest.mark.parametrize("size", [1 << 40, 1 << 60])
def test_a_member_that_claims_more_than_any_recording_is_refused(tmp_path: Path, size: int) -> None:
    info = tarfile.TarInfo("huge.mp4")
    info.size = size
    data = info.tobuf(tarfile.GNU_FORMAT) + bytes(1024)
    with pytest.raises(OversizeError, match=r"huge\.mp4"):
        read_all(parts_of(tmp_path, gzip.compress(data), [64]))


def test_a_header_that_would_fill_the_memory_is_refused(tmp_path: Path) -> None:
    info = tarfile.TarInfo("././@LongLink")
    info.type, info.size = tarfile.GNUTYPE_LONGNAME, 1 << 33
    with pytest.raises(OversizeError, match="a header"):
        read_all(parts_of(tmp_path, gzip.compress(info.tobuf(tarfile.GNU_FORMAT) + bytes(4096)), [64]))


def test_too_many_files_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive_module, "MAX_ENTRIES", 20)
    data = tar_bytes({f"f{index}": b"" for index in range(30)})
    with pytest.raises(DataError, match="more than 20 files"):
        Archives(group_parts(parts_of(tmp_path, gzip.compress(data), [999])), tmp_path / "work")


def test_parts_of_two_archives_do_not_mix(tmp_path: Path) -> None:
    first = parts_of(tmp_path, gzip.compress(tar_bytes({"a": b"1"})), [50], "meta.tar.gz")
    second = parts_of(tmp_path, gzip.compress(tar_bytes({"b": b"2"})), [50], "data.tar.gz")
    container = Archives(group_parts([*second, *first]), tmp_path / "work")
    assert set(container.files) == {"a", "b"}


@pytest.mark.parametrize("name", ["set.zip.000", "set.tar.gz.part1", "notes.txt"])
def test_files_that_are_no_parts_are_refused_by_name(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"x")
    with pytest.raises(DataError, match=name):
        group_parts([tmp_path / name])


SMALL = gzip.compress(tar_bytes({"meta/info.json": b'{"fps": 30}' * 40, "data/é.bin": bytes(range(256)) * 4}))


@settings(max_examples=60)
@given(
    changes=st.lists(st.tuples(st.integers(0, len(SMALL) - 1), st.integers(0, 255)), max_size=4),
    keep=st.integers(0, len(SMALL)),
    inside=st.booleans(),
)
def test_damage_of_any_kind_is_an_error_of_ours_or_harmless(
    changes: list[tuple[int, int]], keep: int, inside: bool
) -> None:
    data = bytearray(gzip.decompress(SMALL) if inside else SMALL)
    for place, value in changes:
        data[place] = value
    damaged = bytes(data[:keep])
    with tempfile.TemporaryDirectory() as folder:
        paths = parts_of(Path(folder), gzip.compress(damaged) if inside else damaged, [100])
        if not paths:
            return
        with contextlib.suppress(DataError):
            read_all(paths)


def test_an_archive_in_one_piece_and_in_parts_is_refused(tmp_path: Path) -> None:
    paths = parts_of(tmp_path, gzip.compress(tar_bytes({"a": b"1"})), [50])
    shutil.copy(paths[0], tmp_path / "set.tar.gz")
    with pytest.raises(DataError, match="one piece and in parts"):
        group_parts([*paths, tmp_path / "set.tar.gz"])
