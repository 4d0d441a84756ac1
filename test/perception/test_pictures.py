"""Pictures of every encoding become RGB, whatever their rows look like, and shrink without aliasing."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rlt_ros.perception import pictures
from rlt_ros.perception.pictures import PictureError, decode, resize
from rlt_ros.robots import interface

RGB = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
ALPHA = np.full((5, 7, 1), 99, np.uint8)


def packed(pixels: np.ndarray, padding: int) -> bytes:
    rows = pixels.reshape(len(pixels), -1)
    return np.hstack([rows, np.full((len(rows), padding), 77, np.uint8)]).tobytes()


@pytest.mark.parametrize("padding", [0, 5])
@pytest.mark.parametrize(
    ("encoding", "pixels"),
    [
        ("rgb8", RGB),
        ("bgr8", RGB[:, :, ::-1]),
        ("rgba8", np.dstack([RGB, ALPHA])),
        ("bgra8", np.dstack([RGB[:, :, ::-1], ALPHA])),
    ],
)
def test_every_encoding_gives_the_same_picture(encoding: str, pixels: np.ndarray, padding: int) -> None:
    data = packed(np.ascontiguousarray(pixels), padding)
    step = 7 * pixels.shape[2] + padding
    np.testing.assert_array_equal(decode(data, height=5, width=7, step=step, encoding=encoding), RGB)


def test_grey_becomes_three_equal_channels() -> None:
    grey = decode(RGB[:, :, 0].tobytes(), height=5, width=7, step=7, encoding="mono8")
    np.testing.assert_array_equal(grey, np.repeat(RGB[:, :, :1], 3, axis=2))


def test_the_encodings_of_profiles_are_those_that_can_be_read() -> None:
    assert set(interface.RAW_ENCODINGS) == set(pictures.ENCODINGS)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"encoding": "16UC1"}, "rgb8"),
        ({"height": 6}, "6 rows"),
        ({"step": 20}, "at least 21"),
        ({"width": 0}, "0×5"),
        ({"data": b""}, "0 bytes"),
    ],
)
def test_a_picture_that_contradicts_itself_is_refused(change: dict[str, object], words: str) -> None:
    good = {"data": RGB.tobytes(), "height": 5, "width": 7, "step": 21, "encoding": "rgb8"}
    decode(**good)  # type: ignore[arg-type]
    with pytest.raises(PictureError, match=words):
        decode(**{**good, **change})  # type: ignore[arg-type]


@given(
    st.binary(max_size=64), st.integers(-1, 9), st.integers(-1, 9), st.integers(-1, 40), st.text(max_size=5)
)
def test_no_bytes_crash_the_decoder(data: bytes, height: int, width: int, step: int, encoding: str) -> None:
    for name in (encoding, "rgb8", "mono8"):
        try:
            picture = decode(data, height=height, width=width, step=step, encoding=name)
        except PictureError:
            continue
        assert picture.shape == (height, width, 3)


@pytest.mark.parametrize("size", [(64, 64), (64, 48), (33, 17), (200, 300), (120, 160)])
def test_resizing_is_that_of_torch(size: tuple[int, int]) -> None:
    picture = np.random.default_rng(1).integers(0, 256, (120, 160, 3), dtype=np.uint8)
    floats = torch.from_numpy(picture).permute(2, 0, 1)[None].float()
    expected = torch.nn.functional.interpolate(
        floats, size, mode="bilinear", antialias=True, align_corners=False
    )[0].permute(1, 2, 0)
    resized = resize(picture, *size)
    assert resized.shape == (*size, 3)
    assert np.abs(resized.astype(float) - expected.numpy()).max() <= 0.51


@pytest.mark.parametrize("encoding", pictures.ENCODINGS)
def test_what_is_encoded_is_read_again(encoding: str) -> None:
    rgb = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
    pixels = pictures.encode(rgb, encoding)
    data, step = pixels.tobytes(), pixels.shape[1] * pixels.shape[2]
    back = pictures.decode(data, height=2, width=3, step=step, encoding=encoding)
    expected = np.repeat(rgb[:, :, 1:2], 3, axis=2) if encoding == "mono8" else rgb
    np.testing.assert_array_equal(back, expected)
