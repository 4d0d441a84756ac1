"""JPEG and PNG pictures to (h, w, 3) RGB and back.

EXIF orientation and transparency are ignored; grey becomes three equal channels.
"""

from __future__ import annotations

import io

import numpy as np
from PIL import Image
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile

from rlt_ros.perception.pictures import PictureError, Pixels, check_size

_REDUCED = 2
"""Smallest scale of a reduced decoding, as a multiple of the requested size. With 1 some pixels at sharp edges are off
by 25 levels, because the decoder's own scaling is no mean over an area."""

_QUALITY = 95
"""Quality of encoded JPEGs: the default of image_transport's `compressed`, seldom off by more than 3 levels."""

_JPEG, _PNG = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"
_READERS: dict[bytes, tuple[str, type[ImageFile]]] = {
    _JPEG: ("JPEG", JpegImageFile),
    _PNG: ("PNG", PngImageFile),
}
"""First bytes of a file → name of its format, and its reader."""

_DEPTH_HEADER = 12
"""Bytes of settings before the PNG of `compressedDepth`."""
_BIT_DEPTH_BYTE = 24
"""Offset in a PNG of the number of bits per channel."""
_MODES = ("RGB", "L", "RGBA", "LA")
"""Pillow modes with 8 bits per channel, colours or grey."""

_OTHERS = {
    b"RIFF": "WebP",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"GIF8": "GIF",
    b"BM": "BMP",
    b"\0\0\0\x01": "H.264 or H.265",
    b"\0\0\x01": "H.264 or H.265",
}
"""First bytes of other formats that drivers publish."""


def decode_file(data: bytes, size: tuple[int, int] | None = None) -> Pixels:
    """Decode a JPEG or PNG file to RGB (h, w, 3).

    Args:
        data: the file.
        size: height and width of the result; None keeps those of the file.

    A JPEG far larger than ``size`` is decoded at a half, quarter or eighth of its size, for speed, with sides at least
    twice as long as requested. No pixel differs by more than 6 levels, and by 1 on average, from the result of
    `rlt_ros.perception.pictures.resize` for the full picture.

    Raises:
        PictureError: the file is of another format, damaged, truncated, too large, or not of 8-bit colours or grey.
    """
    name, reader = _reader(data)
    try:
        # `Image.open` would only warn about pictures that are too large.
        with reader(io.BytesIO(data)) as picture:
            _check(picture, data)
            if size is not None:
                picture.draft("RGB", (_REDUCED * size[1], _REDUCED * size[0]))
            pixels = picture.convert("RGB")
            if size is not None:
                # The same weights as in `resize`, within one level, and without the GIL.
                pixels = pixels.resize((size[1], size[0]), Image.Resampling.BILINEAR)
    except PictureError:
        raise
    # Pillow documents no list of exceptions, and input from outside must not end a node.
    except Exception as error:
        raise PictureError(f"it is a damaged {name}: {error}") from error
    return np.array(pixels)


def encode_file(rgb: Pixels) -> bytes:
    """Encode an RGB picture (h, w, 3) as a JPEG of good quality."""
    file = io.BytesIO()
    # Chroma at full resolution: pictures for a VLA are small.
    Image.fromarray(rgb).save(file, "JPEG", quality=_QUALITY, subsampling=0)
    return file.getvalue()


def _reader(data: bytes) -> tuple[str, type[ImageFile]]:
    for start, reader in _READERS.items():
        if data.startswith(start):
            return reader
    if not data:
        raise PictureError("it has no data")
    if data[_DEPTH_HEADER:].startswith(_PNG):
        raise PictureError("it is a depth picture of `compressedDepth`; name the topic of a colour picture")
    kind = next((name for start, name in _OTHERS.items() if data.startswith(start)), "")
    what = f"it is {kind}" if kind else f"it begins with the bytes {data[:8].hex(' ')}"
    raise PictureError(f"{what}; expected JPEG or PNG")


def _check(picture: ImageFile, data: bytes) -> None:
    check_size(picture.height, picture.width)
    if isinstance(picture, PngImageFile) and data[_BIT_DEPTH_BYTE] == 16:
        raise PictureError("it is a PNG of 16 bits per channel, such as depth; expected 8 bits")
    if picture.mode not in _MODES:
        raise PictureError(
            f"its colours are {picture.mode} (a Pillow mode); expected RGB or grey, 8 bits per channel"
        )
