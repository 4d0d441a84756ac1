"""Reading and writing of images by PyAV: videos in H.264, HEVC and AV1, and single JPEG and PNG images.

Files are untrusted, so the container format is named instead of probed (a playlist named ``.mp4`` would make the
library open other files), and images beyond `MAX_PIXELS` are refused before decoding.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from fractions import Fraction
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from rlt_ros.data.episode import Picture
from rlt_ros.data.errors import DataError, EpisodeError
from rlt_ros.perception.pictures import resize
from rlt_ros.store.storage import replacing

T = TypeVar("T")

MAX_PIXELS = 1 << 26
"""Of one image: 8192 × 8192."""
_MAX_PICTURE = 1 << 28
"""Bytes of an image file: an uncompressed one of as many pixels."""
CODECS = {"av1": "libsvtav1", "hevc": "libx265", "h264": "libx264"}
"""Codec → encoder of the library, in the order of preference."""
EXACT = 1e-4
"""s between an image and its row up to which they count as simultaneous; LeRobot's ``tolerance_s``."""
# s; rounding of times on the clocks of containers.
_EQUAL = 1e-6
DEPTH_FORMATS = ("gray9", "gray10", "gray12", "gray14", "gray16", "ya16")
"""Prefixes of FFmpeg's names of single-channel formats beyond 8 bits, which contain distances."""
_CONTAINERS = {".mp4": "mp4", ".mov": "mov", ".mkv": "matroska", ".webm": "matroska", ".avi": "avi"}
_OPTIONS = {
    # A key frame at every second image makes random access cheap; chosen by LeRobot after measuring.
    "libsvtav1": {"g": "2", "crf": "30", "preset": "10"},
    "libx265": {"g": "2", "crf": "24", "preset": "fast", "x265-params": "log-level=error"},
    "libx264": {"g": "2", "crf": "20", "preset": "fast"},
}


class VideoCamera:
    """Section of a video file as the images of an episode: each row has the image nearest in time.

    Args:
        path: the file.
        fps: rows per second.
        rows: number of rows T.
        start: time of the first row after the first image of the file, s; a file may contain many episodes.
        times: (T,) times of all rows on the clock of the file, s, if the data set has them; replaces ``start``.

    Attributes:
        offset: largest distance of a returned image from the time of its row, s.
    """

    def __init__(
        self,
        path: Path,
        *,
        fps: float,
        rows: int,
        start: float = 0.0,
        times: NDArray[np.float64] | None = None,
    ) -> None:
        self.path, self.fps, self.rows = path, fps, rows
        self._start, self._times = start, times
        self.offset = 0.0

    @property
    def notes(self) -> dict[str, str]:
        """Note on the returned images, and its detail; empty if each has its row's time."""
        if self.offset <= EXACT:
            return {}
        detail = f"{self.path.name}: up to {self.offset * 1e3:.1f} ms away, at {self.fps:g} rows per second"
        return {"has pictures at other times than rows; each row takes the nearest": detail}

    def times(self, stream: Any) -> NDArray[np.float64]:
        """(T,) time of each row on the clock of the file, s."""
        if self._times is not None:
            return self._times
        first = float((stream.start_time or 0) * stream.time_base)
        return first + self._start + np.arange(self.rows) / self.fps

    def frames(self, rows: Sequence[int], size: tuple[int, int] | None = None) -> Iterator[Picture]:
        """See `rlt_ros.data.episode.Camera`."""
        import av

        if not len(rows):
            return
        try:
            with open_video(self.path) as container:
                stream = video_stream(container, self.path)
                if max(rows) >= self.rows:
                    raise EpisodeError("has a video that is shorter than its joint states", self.path.name)
                targets = self.times(stream)[list(rows)]
                interval = max(1 / self.fps, 1 / float(stream.average_rate or self.fps))
                if targets[0] > 0:
                    container.seek(
                        int((targets[0] - interval) / stream.time_base), stream=stream, backward=True
                    )
                nearest = _nearest(_timed(container, stream, self.path), targets)
                for row, target, (time, frame, ended) in zip(rows, targets, nearest, strict=True):
                    self._check(row, target, time, 0.5 * interval + EXACT, ended=ended)
                    yield _rgb(frame, size)
        except (av.FFmpegError, OSError, ValueError) as error:
            if isinstance(error, EpisodeError):
                raise
            detail = f"{self.path.name}: {_short(error)}"
            raise EpisodeError("has a video that cannot be decoded", detail) from error

    def _check(self, row: int, target: float, time: float, tolerance: float, *, ended: bool) -> None:
        gap = abs(time - target)
        if gap > tolerance:
            where = f"{self.path.name}: row {row} is at {target:.3f} s, the nearest picture at {time:.3f} s"
            short = "has a video that is shorter than its joint states"
            raise EpisodeError(short if ended else "has a video with missing frames", where)
        self.offset = max(self.offset, gap)


class PictureCamera:
    """Single images, one per row, as files or bytes."""

    def __init__(self, pictures: Sequence[Path | bytes]) -> None:
        self._pictures = pictures

    def frames(self, rows: Sequence[int], size: tuple[int, int] | None = None) -> Iterator[Picture]:
        """See `rlt_ros.data.episode.Camera`."""
        for row in rows:
            if row >= len(self._pictures):
                raise EpisodeError("has fewer pictures than joint states")
            picture = self._pictures[row]
            yield decode_picture(picture if isinstance(picture, bytes) else _file(picture), size)


class ArrayCamera:
    """Images (T, h, w, 3) in memory, or in a mapped file."""

    def __init__(self, pictures: Picture) -> None:
        self._pictures = pictures

    def frames(self, rows: Sequence[int], size: tuple[int, int] | None = None) -> Iterator[Picture]:
        """See `rlt_ros.data.episode.Camera`."""
        for row in rows:
            yield _scaled(np.array(self._pictures[row]), size)


def decode_picture(data: bytes, size: tuple[int, int] | None = None) -> Picture:
    """Decode JPEG or PNG bytes to an RGB image (h, w, 3). Raises `EpisodeError` for other or damaged bytes."""
    import av

    codec = "mjpeg" if data.startswith(b"\xff\xd8") else "png" if data.startswith(b"\x89PNG") else ""
    if not codec:
        raise EpisodeError("has a picture that is neither JPEG nor PNG")
    context: Any = av.CodecContext.create(codec, "r")
    context.options = {"max_pixels": str(MAX_PIXELS)}
    try:
        frames = [*context.decode(av.Packet(data)), *context.decode(None)]
    except (av.FFmpegError, ValueError) as error:
        raise EpisodeError(f"has a picture that cannot be decoded ({_short(error)})") from error
    if not frames:
        raise EpisodeError("has a picture that cannot be decoded (it is cut off)")
    return _rgb(frames[0], size)


def is_deep(data: bytes) -> bool:
    """True for a PNG image of more than 8 bits, as used for depth (ISO/IEC 15948, IHDR)."""
    return data.startswith(b"\x89PNG") and len(data) > 24 and data[24] > 8


def encode_picture(picture: Picture) -> bytes:
    """Encode an RGB image (h, w, 3) as JPEG."""
    import av

    context = av.CodecContext.create("mjpeg", "w")
    context.height, context.width = picture.shape[:2]
    context.pix_fmt, context.time_base, context.options = "yuvj420p", Fraction(1, 30), {"qscale": "2"}
    frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format="yuvj420p")
    return b"".join(bytes(packet) for packet in [*context.encode(frame), *context.encode(None)])


def encode_video(path: Path, pictures: Iterable[Picture], *, fps: int, codec: str = "av1") -> int:
    """Write RGB images (h, w, 3) of one even size as an MP4 file, atomically; return their number.

    Raises:
        DataError: the codec is unknown or missing in this build of the library, or there are no images.
    """
    import av

    if codec not in CODECS:
        raise DataError(f"codec {codec!r} is unknown; there are {', '.join(CODECS)}")
    count = 0
    with replacing(path) as part, av.open(str(part), "w", format="mp4") as container:
        stream: Any = None
        for picture in pictures:
            if stream is None:
                stream = _add_stream(container, CODECS[codec], fps, picture)
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
            frame.pts, frame.time_base = count, Fraction(1, fps)
            container.mux(stream.encode(frame))
            count += 1
        if stream is None:
            raise DataError(f"{path}: no picture to write")
        container.mux(stream.encode(None))
    return count


def describe_video(path: Path) -> dict[str, Any]:
    """Size, codec and pixel format of a file, under LeRobot's names."""
    with open_video(path) as container:
        stream = video_stream(container, path)
        return {
            "video.height": stream.height,
            "video.width": stream.width,
            "video.codec": stream.codec.canonical_name,
            "video.pix_fmt": stream.pix_fmt,
            "video.is_depth_map": False,
            "video.fps": int(stream.average_rate or 0),
            "video.channels": 3,
            "has_audio": False,
        }


def open_video(path: Path) -> Any:
    """Open a video file as a context; the format is named, not probed. Raises `EpisodeError` if that fails."""
    import av

    form = "mp4" if path.suffix in ("", ".part") else _CONTAINERS.get(path.suffix.lower())
    if form is None:
        raise EpisodeError(f"has a video of an unknown kind ({path.suffix})")
    try:
        return closing(av.open(str(path), format=form))
    except (av.FFmpegError, OSError) as error:
        detail = f"{path.name}: {_short(error)}"
        raise EpisodeError("has a video that cannot be opened", detail) from error


def video_stream(container: Any, path: Path) -> Any:
    """Video stream of an open file. Raises `EpisodeError` without one, or for too large images."""
    if not container.streams.video:
        raise EpisodeError(f"has a file without video ({path.suffix})")
    stream = container.streams.video[0]
    if stream.width * stream.height > MAX_PIXELS:
        raise EpisodeError(f"has a video of {stream.width} × {stream.height} pixels")
    stream.thread_type = "AUTO"
    return stream


def _timed(container: Any, stream: Any, path: Path) -> Iterator[tuple[float, Any]]:
    """Images with their times, s."""
    empty = True
    for frame in container.decode(stream):
        if frame.pts is None:
            raise EpisodeError("has a video without time stamps", path.name)
        empty = False
        yield float(frame.pts * stream.time_base), frame
    if empty:
        raise EpisodeError("has a video that is shorter than its joint states", path.name)


def _nearest(timed: Iterator[tuple[float, T]], targets: Iterable[float]) -> Iterator[tuple[float, T, bool]]:
    """Items nearest to each of increasing targets, from items with increasing times; the earlier one of two.

    Each comes with its time, and with True if no item follows the target.
    """
    before: tuple[float, T] | None = None
    current = next(timed, None)
    for target in targets:
        while current is not None and current[0] < target:
            before, current = current, next(timed, None)
        if before is None or (current is not None and current[0] - target < target - before[0] - _EQUAL):
            if current is None:
                return
            yield *current, False
        else:
            yield *before, current is None


def _file(path: Path) -> bytes:
    if path.stat().st_size > _MAX_PICTURE:
        raise EpisodeError(f"has a picture of more than {_MAX_PICTURE} bytes")
    return path.read_bytes()


def _add_stream(container: Any, encoder: str, fps: int, picture: Picture) -> Any:
    import av

    height, width = picture.shape[:2]
    if height % 2 or width % 2:
        raise DataError(f"pictures of {height} × {width} cannot be encoded; set an even size with --size")
    try:
        stream = container.add_stream(encoder, rate=fps, options=_OPTIONS[encoder])
    except (av.FFmpegError, ValueError) as error:
        raise DataError(
            f"this PyAV cannot encode with {encoder} ({error}); choose another --codec"
        ) from error
    stream.height, stream.width, stream.pix_fmt = height, width, "yuv420p"
    return stream


def _rgb(frame: Any, size: tuple[int, int] | None) -> Picture:
    if frame.format.name.startswith(DEPTH_FORMATS):
        raise EpisodeError(
            "has depth among its colour pictures; mark the feature with is_depth_map", frame.format.name
        )
    if frame.width * frame.height > MAX_PIXELS:
        raise EpisodeError(f"has a picture of {frame.width} × {frame.height} pixels")
    return _scaled(frame.to_ndarray(format="rgb24"), size)


def _scaled(picture: Picture, size: tuple[int, int] | None) -> Picture:
    """Scale an image like those of a running robot, so that a VLA gets the same."""
    return picture if size is None or picture.shape[:2] == size else resize(picture, *size)


def _short(error: Exception) -> str:
    return str(error).split(":", 1)[0][:80]
