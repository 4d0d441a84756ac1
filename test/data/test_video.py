"""Images in and out of files: every codec, and misleading files."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlt_ros.data import video
from rlt_ros.data.errors import DataError, EpisodeError
from rlt_ros.data.remux import copy_rows, join
from rlt_ros.data.video import (
    CODECS,
    ArrayCamera,
    PictureCamera,
    VideoCamera,
    decode_picture,
    describe_video,
    encode_picture,
    encode_video,
)
from rlt_ros.perception.pictures import resize

ROWS, FPS = 9, 30


def picture(value: int, size: tuple[int, int] = (64, 96)) -> np.ndarray:
    """Left half of a grey value, right half of its complement."""
    result = np.full((*size, 3), value, np.uint8)
    result[:, size[1] // 2 :] = 255 - value
    return result


def film(path: Path, codec: str = "h264", first: int = 10) -> Path:
    encode_video(path, [picture(first + 20 * row) for row in range(ROWS)], fps=FPS, codec=codec)
    return path


def left(frame: np.ndarray) -> float:
    return float(frame[:, : frame.shape[1] // 2 - 8].mean())


@pytest.mark.parametrize("codec", sorted(CODECS))
def test_a_video_gives_back_the_pictures_of_the_rows_that_are_asked_for(tmp_path: Path, codec: str) -> None:
    camera = VideoCamera(film(tmp_path / "a.mp4", codec), fps=FPS, rows=ROWS)
    values = {row: left(frame) for row, frame in zip((0, 3, 4, 8), camera.frames([0, 3, 4, 8]), strict=True)}
    assert values == pytest.approx({row: 10 + 20 * row for row in (0, 3, 4, 8)}, abs=3)
    assert describe_video(camera.path)["video.codec"] == codec


def test_pictures_are_scaled_as_a_running_robot_s_are(tmp_path: Path) -> None:
    camera = VideoCamera(film(tmp_path / "a.mp4"), fps=FPS, rows=ROWS)
    (whole,), (small,) = camera.frames([2]), camera.frames([2], (16, 24))
    assert np.array_equal(small, resize(whole, 16, 24))
    (same,) = ArrayCamera(whole[None]).frames([0], (16, 24))
    assert np.array_equal(same, small)


@pytest.mark.parametrize("codec", sorted(CODECS))
def test_joined_videos_are_found_again_by_their_times(tmp_path: Path, codec: str) -> None:
    parts = [film(tmp_path / f"{first}.mp4", codec, first) for first in (10, 25, 60)]
    starts = join(tmp_path / "all.mp4", parts, fps=FPS)
    assert starts == pytest.approx([0.0, 0.3, 0.6, 0.9])
    for start, first in zip(starts, (10, 25, 60), strict=False):
        camera = VideoCamera(tmp_path / "all.mp4", fps=FPS, rows=ROWS, start=start)
        values = [left(frame) for frame in camera.frames(range(ROWS))]
        assert values == pytest.approx([first + 20 * row for row in range(ROWS)], abs=3)


def test_a_stretch_is_copied_without_loss_when_it_starts_at_a_key_frame(tmp_path: Path) -> None:
    parts = [film(tmp_path / f"{first}.mp4", first=first) for first in (10, 25)]
    starts = join(tmp_path / "all.mp4", parts, fps=FPS)
    stretch = VideoCamera(tmp_path / "all.mp4", fps=FPS, rows=ROWS, start=starts[1])
    assert copy_rows(stretch, tmp_path / "copy.mp4")
    copied = VideoCamera(tmp_path / "copy.mp4", fps=FPS, rows=ROWS)
    for one, other in zip(stretch.frames(range(ROWS)), copied.frames(range(ROWS)), strict=True):
        assert np.array_equal(one, other)


def test_a_stretch_that_starts_between_key_frames_is_not_copied(tmp_path: Path) -> None:
    camera = VideoCamera(film(tmp_path / "a.mp4"), fps=FPS, rows=4, start=1 / FPS)
    assert not copy_rows(camera, tmp_path / "copy.mp4")
    assert not (tmp_path / "copy.mp4").exists()


def test_rows_beyond_the_end_are_an_error(tmp_path: Path) -> None:
    camera = VideoCamera(film(tmp_path / "a.mp4"), fps=FPS, rows=ROWS + 1)
    with pytest.raises(EpisodeError, match="shorter"):
        list(camera.frames(range(ROWS + 1)))


def timed_film(path: Path, rate: int, stamps: Sequence[int], *, b_frames: int = 0) -> Path:
    """Pictures with the grey values of `film` at ``stamps / rate`` s, written by the library's own muxer."""
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=rate, options={"crf": "5", "bf": str(b_frames)})
        stream.height, stream.width, stream.pix_fmt = 64, 96, "yuv420p"
        for row, stamp in enumerate(stamps):
            frame = av.VideoFrame.from_ndarray(picture(10 + 20 * row), format="rgb24")
            frame.pts, frame.time_base = stamp, Fraction(1, rate)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def test_a_gap_is_an_error_and_not_a_repeated_picture(tmp_path: Path) -> None:
    path = timed_film(tmp_path / "a.mp4", 10, [0, 1, 2, 5, 6])
    camera = VideoCamera(path, fps=10, rows=7)
    with pytest.raises(
        EpisodeError, match=r"missing frames \(a.mp4: row 3 is at 0.300 s, the nearest picture"
    ):
        list(camera.frames(range(7)))
    times = np.array([0.1, 0.2, 0.5])
    values = [left(one) for one in VideoCamera(path, fps=10, rows=3, times=times).frames(range(3))]
    assert values == pytest.approx([30, 50, 70], abs=3)


@pytest.mark.parametrize("rate", [5, 8, 12, 20, 25])
def test_of_a_video_of_another_rate_the_nearest_picture_is_taken_and_reported(
    tmp_path: Path, rate: int
) -> None:
    path = timed_film(tmp_path / "a.mp4", rate, range(9), b_frames=2)
    rows = 8 * 10 // rate + 1
    camera = VideoCamera(path, fps=10, rows=rows, times=np.arange(rows) / 10)
    values = [left(frame) for frame in camera.frames(range(rows))]
    nearest = [min(range(9), key=lambda k: (abs(10 * k - rate * row), k)) for row in range(rows)]
    assert values == pytest.approx([10 + 20 * index for index in nearest], abs=3)
    exact = all(rate * row % 10 == 0 for row in range(rows))
    assert bool(camera.notes) is not exact


@given(
    frames=st.lists(st.integers(0, 200), min_size=1, max_size=12, unique=True).map(sorted),
    rows=st.lists(st.integers(0, 200), min_size=1, max_size=12, unique=True).map(sorted),
)
def test_every_row_has_the_nearest_picture(frames: list[int], rows: list[int]) -> None:
    found = [
        time for time, _, _ in video._nearest(iter([(float(t), None) for t in frames]), map(float, rows))
    ]
    assert found == [min(frames, key=lambda t: (abs(t - row), t)) for row in rows]


def test_a_video_that_is_cut_off_is_an_error(tmp_path: Path) -> None:
    path = film(tmp_path / "a.mp4")
    # The index of an MP4 file is at its end.
    path.write_bytes(path.read_bytes()[:-300])
    with pytest.raises(EpisodeError, match="cannot be"):
        list(VideoCamera(path, fps=FPS, rows=ROWS).frames(range(ROWS)))


def test_a_playlist_that_calls_itself_a_video_opens_no_other_file(tmp_path: Path) -> None:
    secret = film(tmp_path / "secret.mp4")
    for text in (
        f"ffconcat version 1.0\nfile {secret}\n",
        f"#EXTM3U\n#EXTINF:1,\n{secret}\n#EXT-X-ENDLIST\n",
    ):
        (tmp_path / "list.mp4").write_text(text)
        with pytest.raises(EpisodeError, match="cannot be opened"):
            list(VideoCamera(tmp_path / "list.mp4", fps=FPS, rows=ROWS).frames([0]))


def test_a_file_too_large_for_a_picture_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(video, "_MAX_PICTURE", 100)
    (tmp_path / "a.jpg").write_bytes(b"\xff\xd8" + bytes(200))
    with pytest.raises(EpisodeError, match="more than 100 bytes"):
        next(PictureCamera([tmp_path / "a.jpg"]).frames([0]))


def test_jpeg_pictures_come_back_nearly_as_they_were() -> None:
    original = picture(70)
    assert np.abs(decode_picture(encode_picture(original)).astype(int) - original).mean() < 3


@pytest.mark.parametrize("data", [b"", b"GIF89a", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"])
def test_what_is_no_picture_is_an_error(data: bytes) -> None:
    with pytest.raises(EpisodeError, match="picture"):
        list(PictureCamera([data]).frames([0]))


def test_pictures_larger_than_any_camera_s_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = film(tmp_path / "a.mp4")
    data = encode_picture(picture(3))
    monkeypatch.setattr(video, "MAX_PIXELS", 64 * 90)
    with pytest.raises(EpisodeError):
        list(VideoCamera(path, fps=FPS, rows=ROWS).frames([0]))
    with pytest.raises(EpisodeError):
        decode_picture(data)


def test_odd_sizes_and_unknown_codecs_are_refused_with_a_remedy(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="--size"):
        encode_video(tmp_path / "a.mp4", [picture(1, (63, 96))], fps=FPS)
    with pytest.raises(DataError, match="there are av1, hevc, h264"):
        encode_video(tmp_path / "a.mp4", [picture(1)], fps=FPS, codec="mjpeg")
    assert list(tmp_path.iterdir()) == []
