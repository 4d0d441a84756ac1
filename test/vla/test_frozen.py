"""The frozen half of RLT: what goes in together comes out together."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from synthetic import CAMERAS
from toy_vla import Trained

from rlt_ros.perception import Observation
from rlt_ros.rlt.token_readouts import MeanPool
from rlt_ros.vla.frozen import FrozenVLA


@pytest.fixture(scope="module")
def frozen(trained: Trained) -> FrozenVLA:
    spec = trained.vla.spec
    token = MeanPool(embed_dim=spec.embed_dim, tokens=spec.tokens, vla=trained.vla.fingerprint)
    token.fit_normalisation(iter([trained.vla.embed(trained.seen.observations(torch.arange(64)))]))
    return FrozenVLA(trained.vla, token)


def _observations(trained: Trained, count: int) -> list[Observation]:
    batch = trained.unseen.observations(torch.arange(count))
    joints = trained.vla.spec.action_dim
    return [
        Observation(
            stamp=i,
            images={camera: batch.images[camera][i].numpy() for camera in CAMERAS},
            position=batch.proprio[i, :joints].double().numpy(),
            velocity=batch.proprio[i, joints:].double().numpy(),
        )
        for i in range(count)
    ]


def test_token_proprioception_and_chunk_have_one_row_an_observation(
    frozen: FrozenVLA, trained: Trained
) -> None:
    spec = trained.vla.spec
    seen = frozen.encode(_observations(trained, 3), "reach the left target", torch.Generator().manual_seed(0))
    assert seen.z.shape == (3, frozen.z_dim)
    assert seen.proprio.shape == (3, spec.proprio_dim)
    assert seen.chunk.shape == (3, spec.horizon, spec.action_dim)


def test_a_token_does_not_depend_on_what_else_is_in_the_batch(frozen: FrozenVLA, trained: Trained) -> None:
    observations = _observations(trained, 4)
    together = frozen.encode(observations, "reach the left target", torch.Generator().manual_seed(0))
    alone = frozen.encode(observations[2:3], "reach the left target", torch.Generator().manual_seed(0))
    np.testing.assert_allclose(together.z[2], alone.z[0], atol=1e-4)


def test_a_missing_camera_is_named_with_those_that_are_there(frozen: FrozenVLA, trained: Trained) -> None:
    whole = _observations(trained, 1)[0]
    missing = CAMERAS[-1]
    partial = Observation(
        whole.stamp, {c: whole.images[c] for c in CAMERAS if c != missing}, whole.position, whole.velocity
    )
    with pytest.raises(ValueError, match=f"lacks camera '{missing}'"):
        frozen.encode([partial], "reach the left target", torch.Generator())


def test_the_lineage_names_vla_token_and_action_scale(frozen: FrozenVLA, trained: Trained) -> None:
    assert frozen.lineage.vla == trained.vla.fingerprint
    assert frozen.lineage.token
    assert frozen.lineage.stats
    assert not frozen.lineage.actor
