"""Read-outs behind one interface: normalisation, files, lineage."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from rlt_ros.rlt.token import TokenEncoder
from rlt_ros.rlt.token_diagnostics import effective_rank, pairwise_cosine
from rlt_ros.rlt.token_readouts import MeanPool, RandomProjection, Readout, load_readout
from rlt_ros.store.lineage import LineageError
from rlt_ros.store.storage import StorageError, WrongKindError, save_tensors

M, D = 4, 6


def rl_token() -> Readout:
    torch.manual_seed(0)
    return TokenEncoder(embed_dim=D, tokens=M, z_dim=5, vla="v", width=8, layers=1, heads=2)


READOUTS: dict[str, Callable[[], Readout]] = {
    "rl-token": rl_token,
    "mean": lambda: MeanPool(embed_dim=D, tokens=M, vla="v"),
    "random": lambda: RandomProjection(embed_dim=D, tokens=M, z_dim=5, vla="v"),
}
every_readout = pytest.mark.parametrize("make", READOUTS.values(), ids=READOUTS.keys())


def alike(count: int = 500) -> tuple[Tensor, Tensor]:
    """Embeddings with a large common part and a small part that differs."""
    torch.manual_seed(1)
    return 3 * torch.randn(1, M, D) + 0.1 * torch.randn(count, M, D), torch.ones(count, M, dtype=torch.bool)


def fitted(make: Callable[[], Readout]) -> Readout:
    readout = make()
    readout.freeze()
    embeddings, mask = alike()
    readout.fit_normalisation(zip(embeddings.split(100), mask.split(100), strict=True))
    return readout


@every_readout
def test_normalisation_makes_tokens_that_all_look_alike_distinct(make: Callable[[], Readout]) -> None:
    readout = fitted(make)
    embeddings, mask = alike()
    with torch.no_grad():
        raw, z = readout.raw(embeddings, mask), readout(embeddings, mask)
    assert pairwise_cosine(raw) > 0.9 and abs(pairwise_cosine(z)) < 0.01
    assert torch.allclose(z.mean(dim=0), torch.zeros(readout.z_dim), atol=1e-3)
    assert effective_rank(z) > effective_rank(raw)
    assert torch.allclose(z.std(dim=0), torch.ones(readout.z_dim), atol=0.05)


@every_readout
def test_saving_and_loading_changes_neither_output_nor_fingerprint(
    make: Callable[[], Readout], tmp_path: Path
) -> None:
    readout = fitted(make)
    readout.save(tmp_path / "token.safetensors")
    loaded = load_readout(tmp_path / "token.safetensors", vla="v")
    embeddings, mask = alike(7)
    assert type(loaded) is type(readout) and loaded.fingerprint == readout.fingerprint
    with torch.no_grad():
        assert torch.equal(loaded(embeddings, mask), readout(embeddings, mask))


@every_readout
def test_padding_does_not_reach_z(make: Callable[[], Readout]) -> None:
    readout = fitted(make)
    embeddings, mask = alike(3)
    mask[:, 2:] = False
    other = embeddings.clone()
    other[:, 2:] = 50.0
    with torch.no_grad():
        assert torch.allclose(readout(embeddings, mask), readout(other, mask), atol=1e-4)


@every_readout
def test_embeddings_of_another_shape_are_refused(make: Callable[[], Readout]) -> None:
    with pytest.raises(ValueError, match="belongs to another VLA"):
        make()(torch.zeros(2, M + 1, D), torch.ones(2, M + 1, dtype=torch.bool))


def test_a_token_of_another_vla_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "token.safetensors"
    fitted(rl_token).save(path)
    with pytest.raises(LineageError, match="made for VLA v, but the VLA in use is w"):
        load_readout(path, vla="w")


def test_normalisation_weights_and_vla_are_part_of_the_fingerprint() -> None:
    one, same, fitted_one = rl_token(), rl_token(), fitted(rl_token)
    other_vla = rl_token()
    other_vla.vla = "w"
    assert one.fingerprint == same.fingerprint
    assert len({one.fingerprint, fitted_one.fingerprint, other_vla.fingerprint}) == 3


def test_a_damaged_or_foreign_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "token.safetensors"
    fitted(rl_token).save(path)
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(StorageError, match=r"token\.safetensors"):
        load_readout(path)
    save_tensors(path, {"w": torch.zeros(1)}, kind="actor", metadata={})
    with pytest.raises(WrongKindError, match="actor"):
        load_readout(path)


def test_mean_pooling_cannot_change_the_width() -> None:
    with pytest.raises(ValueError, match="z_dim 7 is impossible"):
        MeanPool(embed_dim=D, tokens=M, vla="v", z_dim=7)


def test_mean_pooling_is_the_mean_of_what_is_not_padding() -> None:
    pool = MeanPool(embed_dim=1, tokens=3, vla="v")
    embeddings = torch.tensor([[[1.0], [3.0], [100.0]]])
    assert pool(embeddings, torch.tensor([[True, True, False]])).tolist() == [[2.0]]
