"""Pictures in and out of files, by PyAV: videos in H.264, HEVC and AV1, and single JPEG and PNG pictures.

Files may come from anywhere, so the container format is named instead of probed (a playlist that calls itself
``.mp4`` would make the library open other files), and pictures beyond `MAX_PIXELS` are refused before decoding.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from rlt_ros.data.episode import Picture
from rlt_ros.data.errors import DataError, EpisodeError
from rlt_ros.perception.pictures import resize
from rlt_ros.rlt.storage import replacing

MAX_PIXELS = 1 << 26
"""Of one picture: 8192 × 8192."""
_MAX_PICTURE = 1 << 28
"""Bytes of one picture's file: an uncompressed one of so many pixels."""
CODECS = {"av1": "libsvtav1", "hevc": "libx265", "h264": "libx264"}
"""Codec → encoder of the library, in the order of preference."""
_CONTAINERS = {".mp4": "mp4", ".mov": "mov", ".mkv": "matroska", ".webm": "matroska", ".avi": "avi"}
_OPTIONS = {
    # A key frame every second picture makes random access cheap, as LeRobot chose after measuring.
    "libsvtav1": {"g": "2", "crf": "30", "preset": "10"},
    "libx265": {"g": "2", "crf": "24", "preset": "fast", "x265-params": "log-level=error"},
    "libx264": {"g": "2", "crf": "20", "preset": "fast"},
}


class VideoCamera:
    """A stretch of a video file as the pictures of an episode.

    Args:
        path: the file.
        fps: rows a second.
        rows: number of rows T.
        start: time of the first row in the file, s; a file may hold many episodes.
    """

    def __init__(self, path: Path, *, fps: float, rows: int, start: float = 0.0) -> None:
        self.path, self.fps, self.rows, self.start = path, fps, rows, start

    def frames(self, rows: Sequence[int], size: tuple[int, int] | None = None) -> Iterator[Picture]:
        """See `rlt_ros.data.episode.Camera`."""
        import av

        wanted = iter(rows)
        row = next(wanted, None)
        try:
            with _open(self.path) as container:
                stream = _stream(container, self.path)
                first = stream.start_time or 0
                if self.start > 0:
                    container.seek(int(self.start / stream.time_base) + first, stream=stream, backward=True)
                for frame in container.decode(stream):
                    if row is None:
                        return
                    if frame.pts is None:
                        raise EpisodeError("has a video without time stamps")
                    index = round((float((frame.pts - first) * stream.time_base) - self.start) * self.fps)
                    if index > row:
                        raise EpisodeError("has a video with missing frames")
                    if index == row:
                        yield _rgb(frame, size)
                        row = next(wanted, None)
        except (av.FFmpegError, OSError, ValueError) as error:
            if isinstance(error, EpisodeError):
                raise
            raise EpisodeError(f"has a video that cannot be decoded ({_short(error)})") from error
        if row is not None:
            raise EpisodeError("has a video that is shorter than its joint states")

    def copy(self, path: Path) -> bool:
        """Write this stretch to ``path`` (MP4) without decoding; False where it does not start at a key frame."""
        import av

        try:
            with _open(self.path) as container, replacing(path) as part:
                with av.open(str(part), "w", format="mp4") as target:
                    whole = _remux(self, container, target)
                if not whole or _count(part) != self.rows:
                    raise _NotCopied
        except _NotCopied:
            path.unlink(missing_ok=True)
            return False
        except av.FFmpegError:
            return False
        return True


class PictureCamera:
    """Single pictures, one a row, as files or bytes."""

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
    """Pictures (T, h, w, 3) that are in memory, or in a mapped file."""

    def __init__(self, pictures: Picture) -> None:
        self._pictures = pictures

    def frames(self, rows: Sequence[int], size: tuple[int, int] | None = None) -> Iterator[Picture]:
        """See `rlt_ros.data.episode.Camera`."""
        for row in rows:
            yield _scaled(np.array(self._pictures[row]), size)


def decode_picture(data: bytes, size: tuple[int, int] | None = None) -> Picture:
    """RGB picture (h, w, 3) of JPEG or PNG bytes. Raises `EpisodeError` when they are neither, or damaged."""
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


def encode_picture(picture: Picture) -> bytes:
    """JPEG bytes of an RGB picture (h, w, 3)."""
    import av

    context = av.CodecContext.create("mjpeg", "w")
    context.height, context.width = picture.shape[:2]
    context.pix_fmt, context.time_base, context.options = "yuvj420p", Fraction(1, 30), {"qscale": "2"}
    frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format="yuvj420p")
    return b"".join(bytes(packet) for packet in [*context.encode(frame), *context.encode(None)])


def encode_video(path: Path, pictures: Iterable[Picture], *, fps: int, codec: str = "av1") -> int:
    """Write RGB pictures (h, w, 3) of one even size as an MP4 file, atomically; return their number.

    Raises:
        DataError: the codec is unknown or not in this build of the library, or there is no picture.
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
    with _open(path) as container:
        stream = _stream(container, path)
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


def concatenate(path: Path, parts: Sequence[Path], *, fps: int) -> list[float]:
    """Join MP4 files of one codec and size without decoding; return the time at which each begins, and the end, s."""
    import av

    starts = [0.0]
    with replacing(path) as whole, av.open(str(whole), "w", format="mp4") as target:
        out: Any = None
        for part in parts:
            with _open(part) as source:
                stream = _stream(source, part)
                if out is None:
                    out = target.add_stream_from_template(stream, opaque=True)
                shift = round(starts[-1] / stream.time_base) - (stream.start_time or 0)
                count = 0
                for packet in source.demux(stream):
                    if packet.dts is None:
                        continue
                    packet.pts, packet.dts = packet.pts + shift, packet.dts + shift
                    packet.stream = out
                    target.mux(packet)
                    count += 1
                starts.append(starts[-1] + count / fps)
    return starts


class _NotCopied(Exception):
    """The stretch has to be encoded again."""


def _remux(camera: VideoCamera, source: Any, target: Any) -> bool:
    stream = _stream(source, camera.path)
    out = target.add_stream_from_template(stream, opaque=True)
    first = stream.start_time or 0
    half = 0.5 / camera.fps
    begin = round(camera.start / stream.time_base) + first
    if camera.start > 0:
        source.seek(begin, stream=stream, backward=True)
    started = False
    for packet in source.demux(stream):
        if packet.dts is None:
            continue
        time = float((packet.pts - first) * stream.time_base) - camera.start
        if time < -half:
            continue
        if time > camera.rows / camera.fps - half:
            break
        if not started and not packet.is_keyframe:
            return False
        started = True
        packet.pts, packet.dts = packet.pts - begin, packet.dts - begin
        packet.stream = out
        target.mux(packet)
    return started


def _file(path: Path) -> bytes:
    if path.stat().st_size > _MAX_PICTURE:
        raise EpisodeError(f"has a picture of more than {_MAX_PICTURE} bytes")
    return path.read_bytes()


def _count(path: Path) -> int:
    """Pictures of a file, counted by decoding nothing."""
    with _open(path) as container:
        return sum(packet.dts is not None for packet in container.demux(_stream(container, path)))


def _open(path: Path) -> Any:
    import av

    form = "mp4" if path.suffix in ("", ".part") else _CONTAINERS.get(path.suffix.lower())
    if form is None:
        raise EpisodeError(f"has a video of an unknown kind ({path.suffix})")
    try:
        return closing(av.open(str(path), format=form))
    except (av.FFmpegError, OSError) as error:
        raise EpisodeError(f"has a video that cannot be opened ({_short(error)})") from error


def _stream(container: Any, path: Path) -> Any:
    if not container.streams.video:
        raise EpisodeError(f"has a file without video ({path.suffix})")
    stream = container.streams.video[0]
    if stream.width * stream.height > MAX_PIXELS:
        raise EpisodeError(f"has a video of {stream.width} × {stream.height} pixels")
    stream.thread_type = "AUTO"
    return stream


def _add_stream(container: Any, encoder: str, fps: int, picture: Picture) -> Any:
    import av

    height, width = picture.shape[:2]
    if height % 2 or width % 2:
        raise DataError(f"pictures of {height} × {width} cannot be encoded; give an even size with --size")
    try:
        stream = container.add_stream(encoder, rate=fps, options=_OPTIONS[encoder])
    except (av.FFmpegError, ValueError) as error:
        raise DataError(
            f"this PyAV cannot encode with {encoder} ({error}); choose another --codec"
        ) from error
    stream.height, stream.width, stream.pix_fmt = height, width, "yuv420p"
    return stream


def _rgb(frame: Any, size: tuple[int, int] | None) -> Picture:
    if frame.width * frame.height > MAX_PIXELS:
        raise EpisodeError(f"has a picture of {frame.width} × {frame.height} pixels")
    return _scaled(frame.to_ndarray(format="rgb24"), size)


def _scaled(picture: Picture, size: tuple[int, int] | None) -> Picture:
    """The same as a running robot's pictures are scaled, so that a VLA sees no difference."""
    return picture if size is None or picture.shape[:2] == size else resize(picture, *size)


def _short(error: Exception) -> str:
    return str(error).split(":", 1)[0][:80]
