"""Pictures as files of JPEG or PNG, to (h, w, 3) RGB and back.

A file is taken as its pixels are: what its EXIF says of how the camera was held is not looked at, transparency is left
out, grey becomes three equal channels.
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
"""Least size of a picture decoded smaller than it is, as a multiple of the one wanted. With 1 some pixels are 25 levels
off at sharp edges, for the decoder's own scaling is no mean over an area."""

_QUALITY = 95
"""Of the JPEGs made here: the default of image_transport's `compressed`, seldom more than 3 levels off."""

_JPEG, _PNG = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"
_READERS: dict[bytes, tuple[str, type[ImageFile]]] = {
    _JPEG: ("JPEG", JpegImageFile),
    _PNG: ("PNG", PngImageFile),
}
"""How a file begins → its name, and what reads it."""

_DEPTH_HEADER = 12  # bytes of settings before the PNG of `compressedDepth`
_DEPTH_AT = 24  # byte of a PNG that says how many bits a channel has
_MODES = ("RGB", "L", "RGBA", "LA")
"""Modes of Pillow that are colours or grey, 8 bits each."""

_OTHERS = {
    b"RIFF": "WebP",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"GIF8": "GIF",
    b"BM": "BMP",
    b"\0\0\0\x01": "H.264 or H.265",
    b"\0\0\x01": "H.264 or H.265",
}
"""How files begin that are sent as pictures too."""


def decode_file(data: bytes, size: tuple[int, int] | None = None) -> Pixels:
    """RGB (h, w, 3) of a JPEG or PNG file.

    Args:
        data: the file.
        size: height and width that it is resized to; None leaves it as large as it is.

    A JPEG far larger than ``size`` is decoded at a half, quarter or eighth of its size, which costs less; of what is
    resized each side is still twice as long as wanted, or the whole one. So no pixel is more than 6 levels, and none on
    average more than 1, from what `rlt_ros.perception.pictures.resize` makes of the whole picture.

    Raises:
        PictureError: it is of another format, damaged, cut off, too large, or holds other than 8-bit colours or grey.
    """
    name, reader = _reader(data)
    try:
        # Not `Image.open`: it warns of pictures that are too large, where these are an error that is counted.
        with reader(io.BytesIO(data)) as picture:
            _check(picture, data)
            if size is not None:
                picture.draft("RGB", (_REDUCED * size[1], _REDUCED * size[0]))
            pixels = picture.convert("RGB")
            if size is not None:
                # The same weights as in `resize`, within one level; and other threads run meanwhile.
                pixels = pixels.resize((size[1], size[0]), Image.Resampling.BILINEAR)
    except PictureError:
        raise
    except Exception as error:  # Pillow does not say which; bytes from outside must not end a node
        raise PictureError(f"it is a damaged {name}: {error}") from error
    return np.array(pixels)


def encode_file(rgb: Pixels) -> bytes:
    """A JPEG of an RGB picture (h, w, 3), of good quality."""
    file = io.BytesIO()
    # Colours at full resolution: pictures for a VLA are small.
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
    if isinstance(picture, PngImageFile) and data[_DEPTH_AT] == 16:
        raise PictureError("it is a PNG of 16 bits a channel, as of depth; expected 8 bits")
    if picture.mode not in _MODES:
        raise PictureError(
            f"its colours are {picture.mode} (in Pillow's words); expected RGB or grey, 8 bits a channel"
        )
