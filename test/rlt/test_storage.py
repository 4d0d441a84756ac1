from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import safetensors.torch
import torch

from rlt_ros.store import storage
from rlt_ros.store.storage import load_tensors, pack_tensors, replacing, save_tensors, unpack_tensors

TENSORS = {
    "weights": torch.arange(12.0).view(3, 4),
    "half": torch.ones(5, dtype=torch.bfloat16),
    "count": torch.tensor(7),
    "empty": torch.zeros(0, 3),
}


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "deep" / "file.safetensors"
    save_tensors(path, TENSORS, kind="thing", metadata={"note": "hello"})
    return path


def assert_equal(found: dict[str, torch.Tensor], wanted: dict[str, torch.Tensor]) -> None:
    assert found.keys() == wanted.keys()
    for name, tensor in wanted.items():
        assert found[name].dtype == tensor.dtype
        assert torch.equal(found[name], tensor)


def test_what_was_saved_is_loaded(saved: Path) -> None:
    tensors, metadata = load_tensors(saved, kind="thing")
    assert_equal(tensors, TENSORS)
    assert metadata == {"note": "hello"}
    assert [file.name for file in saved.parent.iterdir()] == [saved.name]


def test_views_and_shared_tensors_are_saved_by_value(tmp_path: Path) -> None:
    base = torch.arange(10.0)
    tensors = {"all": base, "again": base, "slice": base[2:5], "turned": base.view(2, 5).t()}
    save_tensors(tmp_path / "x", tensors, kind="thing")
    assert_equal(load_tensors(tmp_path / "x", kind="thing")[0], tensors)


def test_bytes_carry_the_same_as_files() -> None:
    data = pack_tensors(TENSORS, kind="thing", metadata={"version": "3"})
    tensors, metadata = unpack_tensors(data, kind="thing", origin="topic")
    assert_equal(tensors, TENSORS)
    assert metadata == {"version": "3"}


def test_a_file_cut_anywhere_is_refused_by_name(saved: Path) -> None:
    whole = saved.read_bytes()
    for length in range(0, len(whole), 7):
        saved.write_bytes(whole[:length])
        with pytest.raises(storage.StorageError, match=saved.name):
            load_tensors(saved, kind="thing")


def test_a_file_cut_inside_its_data_is_called_truncated(saved: Path) -> None:
    whole = saved.read_bytes()
    saved.write_bytes(whole[:-1])
    with pytest.raises(storage.TruncatedError, match=f"has {len(whole) - 1} of {len(whole)} bytes"):
        load_tensors(saved, kind="thing")


def test_any_changed_byte_of_the_data_is_noticed(saved: Path) -> None:
    whole = bytearray(saved.read_bytes())
    whole[-1] ^= 1
    saved.write_bytes(whole)
    with pytest.raises(storage.ChecksumError, match="do not match their checksum"):
        load_tensors(saved, kind="thing")


def test_changed_metadata_is_noticed(saved: Path) -> None:
    saved.write_bytes(saved.read_bytes().replace(b"hello", b"hullo"))
    with pytest.raises(storage.ChecksumError):
        load_tensors(saved, kind="thing")


def test_files_of_other_programs_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x"
    for content in (
        b"",
        b"PK\x03\x04 a zip of pickles",
        b"{}" * 100,
        safetensors.torch.save({"a": torch.ones(1)}),
    ):
        path.write_bytes(content)
        with pytest.raises(storage.ForeignFileError, match="x"):
            load_tensors(path, kind="thing")


def test_a_file_of_another_kind_is_refused(saved: Path) -> None:
    with pytest.raises(storage.WrongKindError, match="holds `thing`, not `policy`"):
        load_tensors(saved, kind="policy")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(storage.MissingFileError, match="nothing"):
        load_tensors(tmp_path / "nothing", kind="thing")


def test_an_error_while_writing_leaves_the_old_file_and_no_rubbish(saved: Path) -> None:
    before = saved.read_bytes()
    with pytest.raises(ZeroDivisionError), replacing(saved) as temporary:
        temporary.write_bytes(b"half")
        raise ZeroDivisionError
    assert saved.read_bytes() == before
    assert [file.name for file in saved.parent.iterdir()] == [saved.name]


FULL_DISK = """
import resource, signal, sys, torch
from rlt_ros.store.storage import StorageError, save_tensors
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
try:
    save_tensors(sys.argv[1], {"big": torch.zeros(100_000)}, kind="thing")
except StorageError as error:
    print(error)
"""


def test_a_full_disk_leaves_the_old_file(saved: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(saved)], capture_output=True, text=True, check=True
    )
    assert "could not be written" in result.stdout
    assert "Free some disk space" in result.stdout
    assert_equal(load_tensors(saved, kind="thing")[0], TENSORS)
    assert [file.name for file in saved.parent.iterdir()] == [saved.name]


KILLED = """
import os, signal, sys
from rlt_ros.store.storage import replacing
with replacing(sys.argv[1]) as temporary:
    temporary.write_bytes(b"half of the new file")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_kill_9_while_writing_leaves_the_old_file(saved: Path) -> None:
    result = subprocess.run([sys.executable, "-c", KILLED, str(saved)], check=False)
    assert result.returncode == -9
    assert_equal(load_tensors(saved, kind="thing")[0], TENSORS)


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o002, 0o664), (0o077, 0o600)])
def test_the_umask_says_who_may_read(tmp_path: Path, umask: int, mode: int) -> None:
    before = os.umask(umask)
    try:
        save_tensors(tmp_path / "x", TENSORS, kind="thing")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "x").stat().st_mode) == mode


def test_leftovers_of_killed_writers_are_removed_and_those_of_living_ones_stay(tmp_path: Path) -> None:
    path = tmp_path / "x"
    dead = tmp_path / ".x.1234.part"
    dead.write_bytes(b"half")
    with replacing(path) as living:
        living.write_bytes(b"first")
        with replacing(path) as second:
            assert not dead.exists()
            assert living.exists()
            second.write_bytes(b"second")
        assert path.read_bytes() == b"second"
    assert path.read_bytes() == b"first"
    assert [file.name for file in tmp_path.iterdir()] == ["x"]


def test_a_sweep_removes_the_files_of_killed_processes_alone(tmp_path: Path) -> None:
    """Two processes write below the folder; one is killed, and a file of another program ends the same way."""
    source = (
        "import sys\nfrom rlt_ros.store.storage import replacing\n"
        "with replacing(sys.argv[1]) as part:\n"
        "    part.write_bytes(b'half')\n    print(flush=True)\n    sys.stdin.read()"
    )
    paths = [tmp_path / "deep" / "killed", tmp_path / "deep" / "living"]
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", source, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        for path in paths
    ]
    for writer in writers:
        assert writer.stdout
        writer.stdout.readline()
    (tmp_path / "download.part").write_bytes(b"another program's")
    os.symlink(tmp_path / "download.part", tmp_path / ".link.part")
    writers[0].kill()
    writers[0].communicate()
    storage.sweep(tmp_path)
    names = [file.name for file in (tmp_path / "deep").iterdir()]
    assert len(names) == 1 and names[0].startswith(".living.")
    writers[1].communicate()
    assert writers[1].returncode == 0
    assert (tmp_path / "deep" / "living").read_bytes() == b"half"
    assert (tmp_path / "download.part").exists() and (tmp_path / ".link.part").exists()


def test_a_sweep_between_creation_and_lock_costs_the_writer_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, sweeps = storage.fcntl.flock, [1, 1]

    def flock(descriptor: int, operation: int) -> None:
        if operation == storage.fcntl.LOCK_EX and sweeps:
            sweeps.pop()
            storage.sweep(tmp_path)
        real(descriptor, operation)

    monkeypatch.setattr(storage.fcntl, "flock", flock)
    with replacing(tmp_path / "x") as part:
        part.write_bytes(b"whole")
    assert not sweeps
    assert [file.name for file in tmp_path.iterdir()] == ["x"]
    assert (tmp_path / "x").read_bytes() == b"whole"
