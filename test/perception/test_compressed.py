"""Files of JPEG and PNG become RGB of the size wanted; all others are refused in words, and none ends a node."""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from rlt_ros.perception.compressed import decode_file, encode_file
from rlt_ros.perception.pictures import PictureError, resize

RGB = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
SMOOTH = np.indices((48, 64)).sum(axis=0)[..., None].astype(np.uint8) * np.array([1, 2, 0], np.uint8)


def saved(pixels: np.ndarray, kind: str, mode: str = "", **options: Any) -> bytes:
    file = io.BytesIO()
    picture = Image.fromarray(pixels)
    (picture.convert(mode) if mode else picture).save(file, kind, **options)
    return file.getvalue()


def png_that_claims(width: int, height: int) -> bytes:
    head = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = b"IDAT" + zlib.compress(b"")
    chunks = (struct.pack(">I", len(c) - 4) + c + struct.pack(">I", zlib.crc32(c)) for c in (head, body))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def jpeg_that_claims(width: int, height: int) -> bytes:
    data = bytearray(saved(RGB, "JPEG"))
    frame = data.index(b"\xff\xc0")
    data[frame + 5 : frame + 9] = struct.pack(">HH", height, width)
    return bytes(data)


def test_a_png_is_the_picture_itself() -> None:
    np.testing.assert_array_equal(decode_file(saved(RGB, "PNG")), RGB)


def test_transparency_is_left_out() -> None:
    clear = np.dstack([RGB, np.zeros((48, 64, 1), np.uint8)])
    np.testing.assert_array_equal(decode_file(saved(clear, "PNG")), RGB)


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_grey_becomes_three_equal_channels(kind: str) -> None:
    picture = decode_file(saved(SMOOTH[:, :, 0], kind))
    assert np.abs(picture.astype(int) - SMOOTH[:, :, :1]).max() <= 3
    assert (picture == picture[:, :, :1]).all()


@pytest.mark.parametrize("progressive", [False, True])
def test_a_jpeg_has_red_first(progressive: bool) -> None:
    picture = decode_file(saved(SMOOTH, "JPEG", quality=95, subsampling=0, progressive=progressive))
    assert np.abs(picture.astype(int) - SMOOTH).max() <= 8


def test_what_is_written_is_read_again_nearly_to_the_level() -> None:
    assert np.abs(decode_file(encode_file(SMOOTH)).astype(int) - SMOOTH).max() <= 6


def test_the_orientation_of_exif_is_not_looked_at() -> None:
    turned = Image.Exif()
    turned[0x0112] = 6  # a quarter turn
    assert decode_file(saved(RGB, "JPEG", exif=turned)).shape == RGB.shape


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
@pytest.mark.parametrize("size", [(16, 16), (24, 40), (48, 64), (96, 80)])
def test_a_size_that_is_wanted_is_that_of_the_whole_picture_resized(kind: str, size: tuple[int, int]) -> None:
    data = saved(SMOOTH, kind)
    fitted = decode_file(data, size)
    assert (fitted.shape, fitted.dtype) == ((*size, 3), np.uint8)
    assert np.abs(fitted.astype(int) - resize(decode_file(data), *size)).max() <= 6


DEEP = (RGB[:, :, 0].astype(np.uint16)) << 4
BAD = {
    "no data": (b"", "no data"),
    "text": (b"<html>", "3c 68 74 6d 6c 3e; expected JPEG or PNG"),
    "TIFF": (saved(RGB, "TIFF"), "is TIFF"),
    "WebP": (b"RIFF\x24\0\0\0WEBPVP8 ", "is WebP"),
    "a frame of a video": (b"\0\0\0\x01\x67\x42", "is H.264"),
    "half a JPEG": (encode_file(RGB)[:1000], "damaged JPEG"),
    "half a PNG": (saved(RGB, "PNG")[:1000], "damaged PNG"),
    "the first bytes of a PNG": (b"\x89PNG\r\n\x1a\n", "damaged PNG"),
    "compressedDepth": (bytes(12) + saved(DEEP, "PNG"), "depth picture of `compressedDepth`"),
    "16 bits, grey": (saved(DEEP, "PNG"), "16 bits per channel"),
    "CMYK": (saved(RGB, "JPEG", "CMYK"), "colours are CMYK"),
    "a palette": (saved(RGB, "PNG", "P"), "colours are P"),
    "a PNG of billions": (png_that_claims(2**31 - 1, 2**31 - 1), r"has 2147483647×2147483647 pixels"),
    "a JPEG of billions": (jpeg_that_claims(65_500, 65_500), r"has 65500×65500 pixels"),
    "more than Pillow warns of": (jpeg_that_claims(10_000, 10_000), r"has 10000×10000 pixels"),
}


@pytest.mark.parametrize("size", [None, (8, 8)])
@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_used_is_said_in_words_and_without_warnings(
    name: str, size: tuple[int, int] | None
) -> None:
    data, words = BAD[name]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(PictureError, match=words):
            decode_file(data, size)


SEEDS = (
    encode_file(RGB),
    saved(RGB, "JPEG", progressive=True, exif=Image.Exif()),
    saved(RGB, "PNG"),
    saved(RGB[:, :, 0], "PNG"),
)


@given(
    st.sampled_from(SEEDS),
    st.lists(st.tuples(st.integers(0, 200), st.integers(0, 255)), max_size=6),
    st.integers(0, 20_000),
    st.sampled_from([None, (8, 9)]),
)
def test_no_bytes_end_the_decoder(
    data: bytes, changes: list[tuple[int, int]], length: int, size: tuple[int, int] | None
) -> None:
    changed = bytearray(data)
    for place, value in changes:
        changed[place] = value
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of EXIF that is damaged
        try:
            picture = decode_file(bytes(changed[:length]), size)
        except PictureError:
            return
    assert picture.ndim == 3
    assert picture.shape[2] == 3
    assert size is None or picture.shape[:2] == size
