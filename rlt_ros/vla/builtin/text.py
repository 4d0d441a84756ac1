"""Instruction text as word tokens.

The vocabulary is the words of the training instructions. Any other word becomes the unknown token, which training has
used too (word dropout), so that a paraphrase works if enough of its words are known. An instruction without a known
word is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

PADDING = 0
UNKNOWN = 1
_SPECIAL = 2


class InstructionError(ValueError):
    """Instruction without a known word."""


@dataclass(frozen=True)
class Vocabulary:
    """Known words in order; word ``i`` has token ``i + 2`` (0 is padding, 1 the unknown word)."""

    words: tuple[str, ...]
    max_words: int = 16

    @classmethod
    def of(cls, instructions: Iterable[str]) -> Vocabulary:
        """Vocabulary of all words of ``instructions``, sorted."""
        return cls(tuple(sorted({word for text in instructions for word in split_words(text)})))

    @property
    def size(self) -> int:
        """Number of tokens, special ones included."""
        return len(self.words) + _SPECIAL

    def encode(self, instructions: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Tokens (B, L) int64 and mask (B, L) bool, padded to the longest of the batch, cut at ``max_words``.

        Raises `InstructionError` for an instruction without any known word.
        """
        numbers = {word: index + _SPECIAL for index, word in enumerate(self.words)}
        rows = []
        for text in instructions:
            row = [numbers.get(word, UNKNOWN) for word in split_words(text)[: self.max_words]]
            if all(token == UNKNOWN for token in row):
                raise InstructionError(
                    f"instruction {text!r} has no known word; the VLA knows: {', '.join(self.words)}"
                )
            rows.append(row)
        length = max(len(row) for row in rows)
        tokens = torch.tensor([row + [PADDING] * (length - len(row)) for row in rows])
        return tokens, tokens != PADDING


def split_words(text: str) -> list[str]:
    """Lower-case words of a text; punctuation separates."""
    return re.findall(r"[^\W_]+", text.lower())
