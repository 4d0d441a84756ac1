"""Copying and joining of videos without decoding, checked by decoding their borders.

A decoder is set up once per file, from the parameters in its header. Parts are therefore joined only if these are equal
byte for byte and decoding times increase across the border. Format: ISO/IEC 14496-12 and -15.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rlt_ros.data.errors import EpisodeError
from rlt_ros.data.video import EXACT, VideoCamera, open_video, video_stream
from rlt_ros.store.storage import replacing


@dataclass(frozen=True)
class Coding:
    """Coding of a whole video file.

    Attributes:
        parameters: settings of a decoder, and the time base.
        bytes: size of the file.
        pictures: number of images.
        first: decoding time of the first packet, relative to the first image, in units of the time base.
        last: the same of the last packet.
    """

    parameters: tuple[Any, ...]
    bytes: int
    pictures: int
    first: int
    last: int

    def precedes(self, other: Coding, fps: int) -> bool:
        """True if ``other`` can follow in the same file."""
        if self.parameters != other.parameters:
            return False
        length = round(self.pictures / fps / self.parameters[0])
        return self.last < length + other.first


def coding(path: Path) -> Coding:
    """Read the coding of a file from its header and packets. Raises `EpisodeError` if it has none."""
    with open_video(path) as container:
        stream = video_stream(container, path)
        context = stream.codec_context
        parameters = (
            stream.time_base,
            context.name,
            context.profile,
            context.width,
            context.height,
            context.pix_fmt,
            context.sample_aspect_ratio,
            context.color_range,
            context.colorspace,
            context.color_primaries,
            context.color_trc,
            context.has_b_frames,
            context.extradata,
        )
        packets = [packet for packet in container.demux(stream) if packet.dts is not None]
        if not packets:
            raise EpisodeError("has a video without pictures", path.name)
        origin = min(packet.pts for packet in packets)
        first, last = packets[0].dts - origin, packets[-1].dts - origin
    return Coding(parameters, path.stat().st_size, len(packets), first, last)


def groups(paths: Sequence[Path], *, fps: int, limit: int) -> list[list[Path]]:
    """Groups of neighbouring files that can be joined, with at most ``limit`` bytes each."""
    result: list[list[Path]] = []
    size = 0
    before: Coding | None = None
    for path in paths:
        this = coding(path)
        if before is None or size + this.bytes > limit or not before.precedes(this, fps):
            result.append([])
            size = 0
        result[-1].append(path)
        size += this.bytes
        before = this
    return result


def join(path: Path, parts: Sequence[Path], *, fps: int) -> list[float]:
    """Join MP4 files of one group; return the start of each, and the end, s.

    Raises:
        NotJoinedError: the result does not show the first and the last image of each part at their times.
    """
    import av

    starts = [0.0]
    try:
        with replacing(path) as whole:
            with av.open(str(whole), "w", format="mp4") as target:
                out: Any = None
                for part in parts:
                    with open_video(part) as source:
                        stream = video_stream(source, part)
                        out = out or target.add_stream_from_template(stream, opaque=True)
                        packets = [packet for packet in source.demux(stream) if packet.dts is not None]
                        shift = round(starts[-1] / stream.time_base) - min(packet.pts for packet in packets)
                        _mux(packets, shift, out, target)
                    starts.append(starts[-1] + len(packets) / fps)
            for part, begin, end in zip(parts, starts[:-1], starts[1:], strict=True):
                rows = round((end - begin) * fps)
                _check_borders(VideoCamera(part, fps=fps, rows=rows), whole, begin)
    except (av.FFmpegError, EpisodeError, ValueError) as error:
        raise NotJoinedError(f"{path}: {error}") from error
    return starts


class NotJoinedError(Exception):
    """Seemingly equal files that cannot be decoded after joining."""


def copy_rows(camera: VideoCamera, path: Path) -> bool:
    """Write the images of a camera's rows as an MP4 file that begins at time 0, without decoding them.

    Returns:
        False if they must be encoded: the section begins between key frames, cuts through reordered images, has
        another rate than the rows, or cannot be decoded after the copy.
    """
    import av

    try:
        with replacing(path) as part:
            with open_video(camera.path) as source, av.open(str(part), "w", format="mp4") as target:
                stream = video_stream(source, camera.path)
                packets = _section(camera, source, stream)
                if packets is None:
                    raise _NotCopiedError
                out = target.add_stream_from_template(stream, opaque=True)
                _mux(packets, -min(packet.pts for packet in packets), out, target)
            _check_borders(camera, part, 0.0)
    except (_NotCopiedError, av.FFmpegError, EpisodeError, ValueError):
        path.unlink(missing_ok=True)
        return False
    return True


class _NotCopiedError(Exception):
    """The section must be encoded."""


def _section(camera: VideoCamera, source: Any, stream: Any) -> list[Any] | None:
    """Packets of exactly the rows' images; None if they cannot be decoded alone."""
    times = camera.times(stream)
    even = times[0] + np.arange(camera.rows) / camera.fps
    if np.abs(times - even).max() > EXACT:
        return None
    half = 0.5 / camera.fps
    if times[0] > half:
        source.seek(int((times[0] - half) / stream.time_base), stream=stream, backward=True)
    inside, outside = [], 0
    for packet in source.demux(stream):
        if packet.dts is None:
            continue
        time = float(packet.pts * stream.time_base)
        if times[0] - half <= time <= times[-1] + half:
            inside.append(packet)
        else:
            outside += 1
            # Decoding times never exceed display times, so the section is complete.
            if float(packet.dts * stream.time_base) > times[-1] + half:
                break
    if len(inside) != camera.rows or not inside[0].is_keyframe:
        return None
    reordered = len({packet.pts - packet.dts for packet in inside}) > 1
    if reordered and outside:
        return None
    shown = np.sort([float(packet.pts * stream.time_base) for packet in inside])
    return inside if np.abs(shown - times).max() <= EXACT else None


def _mux(packets: Sequence[Any], shift: int, out: Any, target: Any) -> None:
    for packet in packets:
        packet.pts, packet.dts = packet.pts + shift, packet.dts + shift
        packet.stream = out
        target.mux(packet)


def _check_borders(camera: VideoCamera, path: Path, start: float) -> None:
    """Raise `EpisodeError` unless a file shows a camera's first and last image from ``start`` on."""
    times = start + np.arange(camera.rows) / camera.fps
    copied = VideoCamera(path, fps=camera.fps, rows=camera.rows, times=times)
    for row in sorted({0, camera.rows - 1}):
        (one,), (other,) = camera.frames([row]), copied.frames([row])
        if not np.array_equal(one, other):
            raise EpisodeError("shows another picture after the copy", f"{path.name}: row {row}")
    if copied.offset > EXACT:
        raise EpisodeError("shows pictures at other times after the copy", path.name)


def place(path: Path, part: Path) -> None:
    """Link or copy a finished file to another path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        path.hardlink_to(part)
    except OSError:
        shutil.copyfile(part, path)
