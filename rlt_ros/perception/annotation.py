"""A picture with a coloured frame and a line of text: what an operator wants to see in it. No fonts, no libraries."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]

_BORDER = 4  # pixels
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.:-%/"
_ROWS = (
    "2575565656344436555674647746443455355755722271115255655444475775565555255526564425573656553421672222"
    "555575555255775552555522271247755572622761247612165571174616347577122275757757160000202020007005124511244"
)
_GLYPHS = {letter: _ROWS[5 * index : 5 * index + 5] for index, letter in enumerate(_LETTERS)}
"""Letter → five rows of three pixels, an octal digit each."""


def annotate(picture: Picture, text: str, colour: tuple[int, int, int]) -> Picture:
    """A copy of ``picture`` (h, w, 3) with a frame of ``colour`` and ``text`` in the upper left corner.

    Letters are drawn as capitals; what has no glyph is a space, and what does not fit is cut.
    """
    result = picture.copy()
    for edge in (np.s_[:_BORDER], np.s_[-_BORDER:], np.s_[:, :_BORDER], np.s_[:, -_BORDER:]):
        result[edge] = colour
    size = max(1, picture.shape[0] // 120)
    letters = np.kron(_bitmap(text), np.ones((size, size), dtype=bool))
    top = _BORDER + size
    window = result[top : top + letters.shape[0], top : top + letters.shape[1]]
    mask = letters[: window.shape[0], : window.shape[1]]
    window[...] = np.where(mask[..., None], np.uint8(255), window // 3)
    return result


def _bitmap(text: str) -> NDArray[np.bool_]:
    """(7, 4 n + 1): the letters, a pixel of margin around each."""
    bits = np.zeros((7, 4 * len(text) + 1), dtype=bool)
    for index, letter in enumerate(text.upper()):
        for row, digit in enumerate(_GLYPHS.get(letter, "00000")):
            for column in range(3):
                bits[1 + row, 1 + 4 * index + column] = bool(int(digit) & (4 >> column))
    return bits
