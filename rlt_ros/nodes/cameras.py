"""A robot's cameras in the graph: pictures in and out as the robot profile describes them.

What the bytes mean is in `perception.pictures` and `perception.compressed`; here are the messages around them.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from rlt_ros.middleware.arrays import pack
from rlt_ros.middleware.messages import CompressedImage, Image, message_type
from rlt_ros.nodes.conversions import read_picture
from rlt_ros.perception.compressed import decode_file, encode_file
from rlt_ros.perception.pictures import PictureError, Pixels, encode, resize
from rlt_ros.robots.interface import CameraProfile


def camera_type(camera: CameraProfile) -> type[Any]:
    """Class of a camera's messages."""
    kind: type[Any] = message_type(camera.message_type)
    return kind


def read_camera(message: Any, camera: CameraProfile, size: tuple[int, int] | None) -> Pixels:
    """RGB (h, w, 3) of a camera's message, resized to ``size`` unless this is None.

    Raises:
        PictureError: it is not what the profile says of the camera, or is damaged.
    """
    if camera.is_compressed:
        return _decoded(message, size)
    picture = read_picture(message, camera.encoding)
    return picture if size is None else resize(picture, *size)


def write_camera(rgb: Pixels, camera: CameraProfile, header: Any) -> Any:
    """An RGB picture (h, w, 3) as the camera would send it; a compressed one is a JPEG."""
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
    told = message.format
    if told.startswith("bayer") and "png" in told:  # image_transport compresses the sensor's own pixels then
        raise PictureError(
            f"its format is `{told}`, raw pixels of the sensor; name the topic of a colour picture"
        )
    try:
        return decode_file(bytes(message.data), size)
    except PictureError as error:
        raise PictureError(f"{error} (its format is `{told}`)") from error
