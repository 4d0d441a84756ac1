"""A peer's JPEG is decoded to nearly the same levels as in the perception node."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from rlt_ros.perception.pictures import resize
from rlt_ros.serving.errors import RequestError
from rlt_ros.serving.pictures import from_file


def natural(height: int, width: int) -> np.ndarray:
    """A picture with the spectrum of natural ones, amplitude 1/f."""
    random = np.random.default_rng(0)
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width)[None])
    frequency[0, 0] = 1.0
    noise = random.standard_normal((height, width, 3))
    picture = np.fft.ifft2(np.fft.fft2(noise, axes=(0, 1)) / frequency[..., None], axes=(0, 1)).real
    picture = (picture - picture.mean()) / picture.std()
    return np.clip(50 * picture + 128, 0, 255).astype(np.uint8)


def edges(height: int, width: int) -> np.ndarray:
    """Black and white, with borders that lie on no block of the codec."""
    picture = np.zeros((height, width, 3), np.uint8)
    picture[:, width // 3 + 3 :] = 255
    picture[height // 2 + 5 :] = 255 - picture[height // 2 + 5 :]
    return picture


@pytest.mark.parametrize("make", [natural, edges])
@pytest.mark.parametrize("size", [(64, 64), (140, 224), (224, 224)])
@pytest.mark.parametrize("shape", [(800, 1280), (480, 848), (48, 60)])
def test_a_picture_that_is_decoded_small_is_the_whole_one_resized(
    make: object, size: tuple[int, int], shape: tuple[int, int]
) -> None:
    assert callable(make)
    file = io.BytesIO()
    Image.fromarray(make(*shape)).save(file, "JPEG", quality=95)
    whole = np.asarray(Image.open(file).convert("RGB"))
    fitted = from_file(file.getvalue(), size, name="head")
    assert (fitted.shape, fitted.dtype) == ((*size, 3), np.uint8)
    difference = np.abs(fitted.astype(int) - resize(whole, *size))
    assert difference.max() <= 6
    assert difference.mean() <= 1


def test_a_picture_that_claims_too_much_is_not_decoded() -> None:
    file = io.BytesIO()
    Image.new("L", (8, 8)).save(file, "JPEG")
    data = bytearray(file.getvalue())
    frame = data.index(b"\xff\xc0")
    # Height and width
    data[frame + 5 : frame + 9] = b"\xff\xff\xff\xff"
    with pytest.raises(RequestError, match=r"`head` cannot be read: it has"):
        from_file(bytes(data), (64, 64), name="head")
