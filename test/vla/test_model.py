"""The network: stem, prefix, action head."""

from __future__ import annotations

import pytest
import torch

from rlt_ros.vla.builtin.config import VLAConfig
from rlt_ros.vla.builtin.head import FlowHead
from rlt_ros.vla.builtin.model import ConvStem, Prefix, standardise

CONFIG = VLAConfig(width=32, layers=2, heads=2, stem_width=4, horizon=20, steps_per_token=5, head_layers=1)


def prefix() -> Prefix:
    torch.manual_seed(0)
    return Prefix(
        CONFIG, cameras=2, image_size=(32, 48), proprio_dim=4, vocabulary_size=9, max_words=6
    ).eval()


def inputs(batch: int = 3) -> tuple[torch.Tensor, ...]:
    torch.manual_seed(1)
    words = torch.randint(2, 9, (batch, 5))
    return (
        torch.randn(batch, 2, 3, 32, 48),
        words,
        torch.ones_like(words, dtype=torch.bool),
        torch.randn(batch, 4),
    )


def test_brightness_contrast_and_tint_leave_no_trace() -> None:
    torch.manual_seed(0)
    image = torch.randint(60, 120, (1, 16, 16, 3)).float()
    lit = 2 * image + torch.tensor([0.0, 5.0, 10.0])
    plain, other = standardise(image.to(torch.uint8)), standardise(lit.to(torch.uint8))
    # The guard against amplifying noise leaves a tenth of the contrast.
    assert (plain - other).abs().max() < 0.35
    assert torch.corrcoef(torch.stack([plain.flatten(), other.flatten()]))[0, 1] > 0.9999


def test_a_blank_image_stays_blank() -> None:
    assert standardise(torch.full((1, 16, 16, 3), 77, dtype=torch.uint8)).abs().max() < 1e-5


def test_stem_tokens_come_row_by_row() -> None:
    torch.manual_seed(0)
    stem = ConvStem(4, 8)
    image = torch.zeros(1, 3, 64, 96)
    blank = stem(image)
    # Row 2 and column 4 of a grid of 4 by 6.
    image[:, :, 40, 72] = 5.0
    changed = (stem(image) - blank).abs().sum(dim=-1)[0]
    assert blank.shape == (1, 24, 8)
    assert int(changed.argmax()) == 2 * 6 + 4


def test_a_shift_below_a_pixel_moves_the_tokens_smoothly() -> None:
    torch.manual_seed(0)
    stem = ConvStem(4, 8)
    grid = torch.arange(32.0)

    def edge(at: float) -> torch.Tensor:
        return stem((grid - at).clamp(0, 1).expand(1, 3, 32, 32))

    moves = [(edge(12 + (i + 1) / 3) - edge(12 + i / 3)).norm().item() for i in range(6)]
    assert min(moves) > 0.3 * max(moves)


def test_the_prefix_returns_image_tokens_first_and_masks_padding() -> None:
    network = prefix()
    images, words, mask, proprio = inputs()
    mask[0, 3:] = False
    embeddings, kept = network(images, words, mask, proprio)
    assert embeddings.shape == (3, 12 + 5 + 1, 32)
    assert kept.sum(dim=1).tolist() == [16, 18, 18]
    assert bool(kept[:, :12].all())


def test_padding_words_do_not_change_anything() -> None:
    network = prefix()
    images, words, mask, proprio = inputs(1)
    mask[0, 3:] = False
    padded, _ = network(images, words, mask, proprio)
    short, _ = network(images, words[:, :3], mask[:, :3], proprio)
    assert torch.allclose(padded[:, :12], short[:, :12], atol=1e-5)


def test_words_and_all_images_reach_an_image_token_and_proprioception_does_not() -> None:
    network = prefix()
    images, words, mask, proprio = inputs(1)
    plain = network(images, words, mask, proprio)[0][:, 0]
    other_word = torch.where(words == words[0, 0], (words - 1) % 7 + 2, words)
    far_corner = images.clone()
    far_corner[:, 1, :, -4:, -4:] += 3.0
    for changed in (network(images, other_word, mask, proprio), network(far_corner, words, mask, proprio)):
        assert (changed[0][:, 0] - plain).abs().max() > 1e-3
    felt = network(images, words, mask, proprio + 1)[0]
    assert torch.equal(felt[:, :-1], network(images, words, mask, proprio)[0][:, :-1])


def test_proprioception_reads_the_image_tokens() -> None:
    network = prefix()
    images, words, mask, proprio = inputs(1)
    plain = network(images, words, mask, proprio)[0][:, -1]
    assert (
        network(images + torch.randn_like(images), words, mask, proprio)[0][:, -1] - plain
    ).abs().max() > 1e-3
    assert (network(images, words, mask, proprio + 1)[0][:, -1] - plain).abs().max() > 1e-3


def test_unknown_proprioception_is_the_same_whatever_it_was() -> None:
    network = prefix()
    images, words, mask, proprio = inputs(2)
    unknown = torch.tensor([False, True])
    a, _ = network(images, words, mask, proprio, unknown)
    b, _ = network(images, words, mask, proprio + 1, unknown)
    assert torch.equal(a[0], b[0]) and not torch.equal(a[1], b[1])


def test_an_image_size_that_the_stem_cannot_tile_is_refused() -> None:
    with pytest.raises(ValueError, match="multiple of 16"):
        Prefix(CONFIG, cameras=1, image_size=(30, 32), proprio_dim=4, vocabulary_size=9, max_words=6)


def test_noise_samples_that_share_a_prefix_get_what_they_would_get_alone() -> None:
    torch.manual_seed(0)
    head = FlowHead(CONFIG, action_dim=3).eval()
    torch.nn.init.normal_(head.write.weight)
    context, mask = torch.randn(2, 7, 32), torch.ones(2, 7, dtype=torch.bool)
    mask[0, 5:] = False
    noisy, time = torch.randn(6, 20, 3), torch.rand(6)
    together = head.velocity(noisy, time, head.memorise(context), mask)
    for index in range(6):
        row = slice(index % 2, index % 2 + 1)
        alone = head.velocity(
            noisy[index : index + 1], time[index : index + 1], head.memorise(context[row]), mask[row]
        )
        assert torch.allclose(together[index], alone[0], atol=1e-5)


def test_euler_steps_follow_a_straight_flow_exactly() -> None:
    class Straight(FlowHead):
        def velocity(self, noisy, time, memory, mask):  # type: ignore[no-untyped-def]
            return (target - noisy) / (1 - time)[:, None, None]

    torch.manual_seed(0)
    target = torch.randn(2, 20, 3)
    head = Straight(CONFIG, action_dim=3)
    context, mask = torch.randn(2, 4, 32), torch.ones(2, 4, dtype=torch.bool)
    assert torch.allclose(head.sample(torch.randn(2, 20, 3), context, mask), target, atol=1e-5)


@pytest.mark.parametrize("sizes", [{"width": 30, "heads": 4}, {"horizon": 50, "steps_per_token": 7}])
def test_sizes_that_do_not_divide_are_refused(sizes: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="multiple"):
        VLAConfig(**sizes)
