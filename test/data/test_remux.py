"""Videos that are taken over without decoding: nothing is written that cannot be decoded."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from rlt_ros.data import lerobot_files
from rlt_ros.data.convert import to_lerobot
from rlt_ros.data.episode import RecordedEpisode
from rlt_ros.data.lerobot_writer import LeRobotWriter
from rlt_ros.data.remux import coding, copy_rows, groups, join
from rlt_ros.data.source import open_source
from rlt_ros.data.video import VideoCamera

FPS, SIZE = 10, (48, 64)


def grey(episode: int, row: int) -> int:
    return 20 + 15 * episode + 5 * row


def film(path: Path, options: Mapping[str, str], rows: int = 8, episode: int = 0) -> Path:
    """A video with the encoder's own options, and grey values that name episode and row."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FPS, options={"crf": "5", **options})
        stream.height, stream.width = SIZE
        stream.pix_fmt, stream.time_base = "yuv420p", Fraction(1, FPS)
        for row in range(rows):
            frame = av.VideoFrame.from_ndarray(
                np.full((*SIZE, 3), grey(episode, row), np.uint8), format="rgb24"
            )
            frame.pts, frame.time_base = row, Fraction(1, FPS)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


ENCODERS: dict[str, dict[str, str]] = {
    "b frames": {"bf": "2", "g": "250", "profile": "high"},
    "no b frames": {"bf": "0", "g": "2", "profile": "baseline"},
    "more references": {"bf": "0", "g": "2", "refs": "5", "profile": "high"},
    "pyramid": {"bf": "4", "b-pyramid": "normal", "g": "250", "profile": "high"},
    "open groups": {"bf": "2", "g": "4", "x264-params": "open-gop=1"},
}


def shown(path: Path, start: float, rows: int) -> list[float]:
    camera = VideoCamera(path, fps=FPS, rows=rows, times=start + np.arange(rows) / FPS)
    values = [float(frame.mean()) for frame in camera.frames(range(rows))]
    assert not camera.notes
    return values


@pytest.mark.parametrize("one", sorted(ENCODERS))
@pytest.mark.parametrize("other", sorted(ENCODERS))
def test_what_is_joined_shows_every_picture_at_its_time(tmp_path: Path, one: str, other: str) -> None:
    """All pairs of encoders; where they differ a new file begins."""
    kinds = [one, one, other, one]
    paths = [film(tmp_path / f"{i}.mp4", ENCODERS[kind], 5 + i, i) for i, kind in enumerate(kinds)]
    together = groups(paths, fps=FPS, limit=1 << 30)
    assert [path for group in together for path in group] == paths
    alike = coding(paths[1]).parameters == coding(paths[2]).parameters
    assert len(together) == (1 if alike else 3)
    assert alike or one != other
    if {one, other} == {"b frames", "no b frames"}:
        assert not alike
    for group in together:
        starts = join(tmp_path / "all.mp4", group, fps=FPS)
        with av.open(str(tmp_path / "all.mp4")) as whole:
            dts = [packet.dts for packet in whole.demux(video=0) if packet.dts is not None]
        assert (np.diff(dts) > 0).all()
        for path, start in zip(group, starts, strict=False):
            i = paths.index(path)
            want = [grey(i, row) for row in range(5 + i)]
            assert shown(tmp_path / "all.mp4", start, 5 + i) == pytest.approx(want, abs=2)


@pytest.mark.parametrize("kind", sorted(ENCODERS))
def test_a_stretch_is_the_same_pictures_or_is_not_copied(tmp_path: Path, kind: str) -> None:
    path = film(tmp_path / "a.mp4", ENCODERS[kind], 12)
    copied = 0
    for first, last in itertools.combinations(range(13), 2):
        camera = VideoCamera(path, fps=FPS, rows=last - first, times=np.arange(first, last) / FPS)
        if copy_rows(camera, tmp_path / "copy.mp4"):
            copied += 1
            want = [grey(0, row) for row in range(first, last)]
            assert shown(tmp_path / "copy.mp4", 0.0, last - first) == pytest.approx(want, abs=2)
            assert coding(tmp_path / "copy.mp4").pictures == last - first
            (tmp_path / "copy.mp4").unlink()
        assert not (tmp_path / "copy.mp4").exists()
    assert copied >= 1


def test_a_stretch_of_another_rate_is_not_copied(tmp_path: Path) -> None:
    path = film(tmp_path / "a.mp4", ENCODERS["no b frames"], 12)
    assert not copy_rows(VideoCamera(path, fps=5, rows=6), tmp_path / "copy.mp4")
    assert not copy_rows(
        VideoCamera(path, fps=FPS, rows=4, times=np.array([0.0, 0.1, 0.4, 0.5])), tmp_path / "copy.mp4"
    )


def episode(number: int, video: Path, rows: int) -> RecordedEpisode:
    values = np.random.default_rng(number).normal(size=(3, rows, 2)).astype(np.float32)
    return RecordedEpisode(
        name=f"episode_{number}",
        task="t",
        instruction="do it",
        hz=FPS,
        stamps=np.arange(rows, dtype=np.int64) * 100_000_000,
        joints=("a", "b"),
        position=values[0],
        velocity=values[1],
        command=values[2],
        human=np.zeros(rows, np.bool_),
        success=None,
        cameras={"front": VideoCamera(video, fps=FPS, rows=rows)},
    )


def test_a_set_of_many_encoders_becomes_files_that_can_be_decoded(tmp_path: Path) -> None:
    writer = LeRobotWriter(tmp_path / "v2", version="v2.1", codec="h264")
    for number, kind in enumerate([*ENCODERS, *ENCODERS]):
        rows = 6 + number % 3
        writer.add(episode(number, film(tmp_path / f"{number}.mp4", ENCODERS[kind], rows, number), rows))
    writer.finish({})
    source = open_source([tmp_path / "v2"])
    to_lerobot(source, tmp_path / "v3", names=source.selected(), codec="h264")
    back = open_source([tmp_path / "v3"])
    seen = 0
    for number, one in enumerate(back.episodes()):
        values = [float(frames["front"].mean()) for frames in one.frames(range(one.rows))]
        assert values == pytest.approx([grey(number, row) for row in range(one.rows)], abs=3)
        seen += 1
    assert seen == 2 * len(ENCODERS) and len(back.skips) == 0


def test_files_that_cannot_be_decoded_together_stay_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The decoder decides, since headers may not show all differences."""
    monkeypatch.setattr(lerobot_files, "groups", lambda paths, **_: [list(paths)])
    writer = LeRobotWriter(tmp_path / "out", codec="h264")
    for number, kind in enumerate(["b frames", "no b frames"]):
        writer.add(episode(number, film(tmp_path / f"{number}.mp4", ENCODERS[kind], 8, number), 8))
    writer.finish({})
    assert len(list((tmp_path / "out/videos").rglob("*.mp4"))) == 2
    for number, one in enumerate(open_source([tmp_path / "out"]).episodes()):
        values = [float(frames["front"].mean()) for frames in one.frames(range(one.rows))]
        assert values == pytest.approx([grey(number, row) for row in range(8)], abs=3)


class Stopped(Exception):
    """Stands for a killed process."""


@pytest.mark.parametrize("version", ["v2.1", "v3.0"])
@pytest.mark.parametrize("after", [0, 1, 2, 3])
def test_a_conversion_that_was_stopped_gives_the_same_bytes(
    folders: dict[str, Path], tmp_path: Path, version: str, after: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def convert(out: Path, names: list[str]) -> None:
        to_lerobot(source, out, names=names, version=version, codec="h264")

    source = open_source([folders["lerobot_v2"]])
    convert(tmp_path / "once", source.names)
    count = 0

    def stop(*_: object, **__: object) -> None:
        nonlocal count
        count += 1
        if count > after:
            raise Stopped

    # Another order stands for a part of an archive that came later.
    with monkeypatch.context() as patch, pytest.raises(Stopped):
        real = LeRobotWriter.add
        patch.setattr(LeRobotWriter, "add", lambda *args: (stop(), real(*args)))
        patch.setattr(lerobot_files, "write_json", stop)
        patch.setattr("rlt_ros.data.lerobot_writer.assemble", stop)
        convert(tmp_path / "twice", source.names[::-1])
    convert(tmp_path / "twice", source.names)
    files = [
        {str(path.relative_to(home)): path.read_bytes() for path in home.rglob("*") if path.is_file()}
        for home in (tmp_path / "once", tmp_path / "twice")
    ]
    assert files[0] == files[1]


def test_a_conversion_is_not_continued_with_other_options(folders: dict[str, Path], tmp_path: Path) -> None:
    source = open_source([folders["lerobot_v2"]])
    LeRobotWriter(tmp_path, codec="h264", source=source.container.origin).add(next(source.episodes()))
    with pytest.raises(ValueError, match="contains a conversion with codec 'h264', not 'hevc'; repeat"):
        to_lerobot(source, tmp_path, names=source.names, codec="hevc")
