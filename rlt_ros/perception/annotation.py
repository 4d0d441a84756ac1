"""Pictures with a coloured frame and a line of text for an operator, without fonts and libraries."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]

_BORDER = 4
"""Width of the frame, pixels."""
_MIN_HEIGHT = 480
"""Pixels; a line of text is as wide as a camera picture of that height."""
_ROWS_PER_GLYPH_ROW = 120
"""Rows of a picture per row of a glyph, its scale."""
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.:-%/"
_ROWS = (
    "2575565656344436555674647746443455355755722271115255655444475775565555255526564425573656553421672222"
    "555575555255775552555522271247755572622761247612165571174616347577122275757757160000202020007005124511244"
)
_GLYPHS = {letter: _ROWS[5 * index : 5 * index + 5] for index, letter in enumerate(_LETTERS)}
"""Letter → five rows of three pixels, an octal digit each."""


def annotate(picture: Picture, text: str, colour: tuple[int, int, int]) -> Picture:
    """Enlarge ``picture`` (h, w, 3) to a height of 480 or more, with a frame of ``colour`` and ``text`` on top.

    The factor is a whole number, so that pixels stay sharp. Letters are capitals, scaled to the picture and the text; a
    character without a glyph is a space. Text that is too long for the smallest letters is truncated.

    Raises:
        ValueError: the picture has no pixels.
    """
    if not picture.size:
        raise ValueError(f"the picture has shape {picture.shape}; it needs pixels")
    factor = -(-_MIN_HEIGHT // picture.shape[0])
    result = picture.repeat(factor, axis=0).repeat(factor, axis=1)
    for edge in (np.s_[:_BORDER], np.s_[-_BORDER:], np.s_[:, :_BORDER], np.s_[:, -_BORDER:]):
        result[edge] = colour
    bits = _bitmap(text)
    height, width, _ = result.shape
    # One more column is the gap between frame and letters.
    size = max(1, min(height // _ROWS_PER_GLYPH_ROW, (width - 2 * _BORDER) // (bits.shape[1] + 1)))
    letters = np.kron(bits, np.ones((size, size), dtype=bool))
    top = _BORDER + size
    window = result[top : top + letters.shape[0], top : top + letters.shape[1]]
    mask = letters[: window.shape[0], : window.shape[1]]
    window[...] = np.where(mask[..., None], np.uint8(255), window // 3)
    return result


def _bitmap(text: str) -> NDArray[np.bool_]:
    """Bitmap (7, 4 n + 1) of the letters, with a margin of one pixel around each."""
    bits = np.zeros((7, 4 * len(text) + 1), dtype=bool)
    for index, letter in enumerate(text.upper()):
        for row, digit in enumerate(_GLYPHS.get(letter, "00000")):
            for column in range(3):
                bits[1 + row, 1 + 4 * index + column] = bool(int(digit) & (4 >> column))
    return bits
