"""Camera messages of a robot profile, read and written.

`perception.pictures` and `perception.compressed` decode and encode the data.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from rlt_ros.middleware.arrays import pack
from rlt_ros.middleware.messages import CompressedImage, Image, message_type
from rlt_ros.perception.compressed import decode_file, encode_file
from rlt_ros.perception.pictures import PictureError, Pixels, encode, resize
from rlt_ros.robots.interface import CameraProfile
from rlt_ros.ros.conversions import read_picture


def camera_type(camera: CameraProfile) -> type[Any]:
    """Message class of a camera."""
    kind: type[Any] = message_type(camera.message_type)
    return kind


def read_camera(message: Any, camera: CameraProfile, size: tuple[int, int] | None) -> Pixels:
    """RGB (h, w, 3) of a camera's message, resized to ``size`` unless this is None.

    Raises:
        PictureError: the picture is damaged, or differs from the profile.
    """
    if camera.is_compressed:
        return _decoded(message, size)
    picture = read_picture(message, camera.encoding)
    return picture if size is None else resize(picture, *size)


def write_camera(rgb: Pixels, camera: CameraProfile, header: Any) -> Any:
    """Message of an RGB picture (h, w, 3) in the encoding of the camera; JPEG if it is compressed."""
    if camera.is_compressed:
        data = np.frombuffer(encode_file(rgb), np.uint8)
        return CompressedImage(header=header, format="rgb8; jpeg compressed bgr8", data=pack(data))
    pixels = encode(rgb, camera.encoding)
    height, width, size = pixels.shape
    return Image(
        header=header,
        height=height,
        width=width,
        encoding=camera.encoding,
        step=width * size,
        data=pack(pixels),
    )


def _decoded(message: Any, size: tuple[int, int] | None) -> Pixels:
    form = message.format
    # image_transport compresses raw sensor pixels then.
    if form.startswith("bayer") and "png" in form:
        raise PictureError(
            f"its format is `{form}`, raw pixels of the sensor; use the topic of a colour picture"
        )
    try:
        return decode_file(bytes(message.data), size)
    except PictureError as error:
        raise PictureError(f"{error} (its format is `{form}`)") from error
