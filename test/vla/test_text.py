"""Words of instructions."""

from __future__ import annotations

import pytest

from rlt_ros.vla.builtin.text import PADDING, UNKNOWN, InstructionError, Vocabulary

WORDS = Vocabulary.of(["plug the charger in", "turn the screw"])


def test_case_and_punctuation_do_not_matter() -> None:
    tokens, _ = WORDS.encode(["Plug the charger, in!", "plug the charger in"])
    assert tokens[0].tolist() == tokens[1].tolist()


def test_shorter_instructions_are_padded_and_masked() -> None:
    tokens, mask = WORDS.encode(["plug the charger in", "screw"])
    assert tokens[1, 1:].tolist() == [PADDING] * 3
    assert mask.tolist() == [[True] * 4, [True, False, False, False]]


def test_an_unknown_word_among_known_ones_becomes_the_unknown_token() -> None:
    tokens, mask = WORDS.encode(["turn that screw"])
    assert tokens[0, 1] == UNKNOWN and bool(mask.all())


@pytest.mark.parametrize("text", ["", "   ", "fold laundry"])
def test_an_instruction_without_a_known_word_is_refused_with_the_known_ones(text: str) -> None:
    with pytest.raises(InstructionError, match="charger, in, plug, screw, the, turn"):
        WORDS.encode([text])


def test_a_long_instruction_is_cut() -> None:
    tokens, _ = WORDS.encode(["screw " * 100])
    assert tokens.shape == (1, WORDS.max_words)
