"""Annotated pictures: enlarged, framed, and with all of their text."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlt_ros.perception.annotation import annotate

LONGEST = "12345 CRITICAL HUMAN Q -123.45"
BLUE = (1, 2, 3)


def text_columns(picture: np.ndarray) -> np.ndarray:
    """Columns inside the frame in which a pixel of a letter is."""
    inside = (picture[4:-4, 4:-4] == 255).all(axis=2)
    return np.flatnonzero(inside.any(axis=0))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ((64, 64), (512, 512)),
        ((480, 640), (480, 640)),
        ((479, 640), (958, 1280)),
        ((1080, 1920), (1080, 1920)),
    ],
)
def test_small_pictures_are_enlarged_by_a_whole_factor(
    before: tuple[int, int], after: tuple[int, int]
) -> None:
    picture = np.random.default_rng(0).integers(0, 200, (*before, 3), dtype=np.uint8)
    shown = annotate(picture, "", BLUE)
    assert shown.shape == (*after, 3)
    factor = after[0] // before[0]
    sharp = picture.repeat(factor, axis=0).repeat(factor, axis=1)
    np.testing.assert_array_equal(shown[100:-4, 4:-4], sharp[100:-4, 4:-4])


@settings(max_examples=25, deadline=None)
@given(
    height=st.integers(1, 700),
    aspect=st.floats(0.5, 3.0),
    text=st.text("ABCXYZ0189.-", min_size=1, max_size=len(LONGEST)),
)
def test_the_whole_text_is_inside_the_frame(height: int, aspect: float, text: str) -> None:
    picture = np.zeros((height, max(1, round(aspect * height)), 3), np.uint8)
    before = picture.copy()
    shown = annotate(picture, text + "H", BLUE)
    np.testing.assert_array_equal(picture, before)
    assert tuple(shown[0, 0]) == tuple(shown[-1, -1]) == BLUE
    columns = text_columns(shown)
    # The upper right corner of H is the last column that is set, one pixel of margin before the end.
    letters = 4 * (len(text) + 1)
    size = (int(columns[-1]) + 1) // letters
    assert size >= 1
    assert columns[-1] + 1 == size * (letters + 1)
    assert (shown[:, -4:] == BLUE).all() and (shown[:, :4] == BLUE).all()


def test_the_longest_text_fits_on_the_picture_of_the_simulator() -> None:
    picture = np.zeros((64, 64, 3), np.uint8)
    whole, cut = (text_columns(annotate(picture, text, BLUE)) for text in (LONGEST, LONGEST[:-1]))
    assert whole[-1] < 512 - 8
    assert whole[-1] > cut[-1]


def test_a_picture_without_pixels_is_refused() -> None:
    with pytest.raises(ValueError, match=r"shape \(0, 64, 3\).*needs pixels"):
        annotate(np.zeros((0, 64, 3), np.uint8), "1", BLUE)
