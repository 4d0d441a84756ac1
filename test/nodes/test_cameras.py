"""Camera messages match their profile and contain the picture."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image as Picture

from rlt_ros.middleware.messages import CompressedImage, Image, type_name
from rlt_ros.perception.pictures import PictureError
from rlt_ros.robots.interface import COMPRESSED, RAW_ENCODINGS, CameraProfile
from rlt_ros.ros.cameras import camera_type, read_camera, write_camera
from rlt_ros.ros.conversions import to_header

RGB = np.indices((12, 16)).sum(axis=0)[..., None].astype(np.uint8) * np.array([4, 8, 2], np.uint8)


def png(pixels: np.ndarray, form: str) -> CompressedImage:
    file = io.BytesIO()
    Picture.fromarray(pixels).save(file, "PNG")
    return CompressedImage(format=form, data=file.getvalue())


@pytest.mark.parametrize("encoding", [*RAW_ENCODINGS, COMPRESSED])
@pytest.mark.parametrize("size", [None, (12, 16), (6, 4)])
def test_what_a_camera_sends_is_read_again(encoding: str, size: tuple[int, int] | None) -> None:
    camera = CameraProfile("camera", encoding)
    message = write_camera(RGB, camera, to_header(7, "optical"))
    assert type(message) is camera_type(camera)
    assert message.header == to_header(7, "optical")
    picture = read_camera(message, camera, size)
    expected = np.repeat(RGB.mean(axis=2, keepdims=True), 3, axis=2) if encoding == "mono8" else RGB
    assert picture.shape == (*(size or (12, 16)), 3)
    assert abs(float(picture.mean() - expected.mean())) < 2
    if size != (6, 4):
        assert np.abs(picture.astype(int) - expected).max() <= 8


@pytest.mark.parametrize(
    "form", ["jpeg", "png", "", "rgb8; jpeg compressed bgr8", "bgr8; png compressed bgr8"]
)
def test_colours_are_those_of_the_file_whatever_the_format_field(form: str) -> None:
    camera = CameraProfile("camera", COMPRESSED)
    np.testing.assert_array_equal(read_camera(png(RGB, form), camera, None), RGB)


@pytest.mark.parametrize(
    ("message", "words"),
    [
        (CompressedImage(format="h264", data=b"\0\0\0\x01\x67"), r"H.264 or H.265; .*its format is `h264`"),
        (CompressedImage(format="jpeg"), "no data"),
        (png(RGB[:, :, 0], "bayer_rggb8; png compressed "), "`bayer_rggb8; png compressed `, raw pixels"),
    ],
)
def test_what_is_no_colour_picture_is_refused_with_its_format(message: CompressedImage, words: str) -> None:
    with pytest.raises(PictureError, match=words):
        read_camera(message, CameraProfile("camera", COMPRESSED), (8, 8))


def test_a_raw_picture_in_another_encoding_is_refused() -> None:
    message = write_camera(RGB, CameraProfile("camera", "bgr8"), to_header(1))
    with pytest.raises(PictureError, match="encoding is `bgr8`; expected rgb8"):
        read_camera(message, CameraProfile("camera"), None)


def test_types_are_named_as_ros_names_them() -> None:
    assert type_name(camera_type(CameraProfile("a"))) == CameraProfile("a").message_type == type_name(Image)
    compressed = CameraProfile("a", COMPRESSED)
    assert type_name(camera_type(compressed)) == compressed.message_type == type_name(CompressedImage)
