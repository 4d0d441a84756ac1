"""Action space: encoding is invertible, and actions of another robot are refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlt_ros.robots.action_space import ActionSpace


@given(
    chunk=st.sampled_from([1, 10, 50]),
    dim=st.sampled_from([7, 8, 16]),
    batch=st.sampled_from([(), (3,)]),
    seed=st.integers(0, 2**32 - 1),
)
def test_decoding_undoes_encoding_for_any_arm_and_chunk(
    chunk: int, dim: int, batch: tuple[int, ...], seed: int
) -> None:
    rng = np.random.default_rng(seed)
    space = ActionSpace(rng.uniform(1e-3, 1.0, dim))
    anchor, targets = rng.normal(size=(*batch, dim)), rng.normal(size=(*batch, chunk, dim))
    actions = space.encode(anchor, targets)
    assert actions.shape == targets.shape
    np.testing.assert_allclose(space.decode(anchor, actions), targets, rtol=1e-12, atol=1e-12)


def test_an_action_is_the_scaled_distance_from_the_anchor() -> None:
    space = ActionSpace(np.array([0.1, 0.5]))
    actions = space.encode(np.array([1.0, 2.0]), np.array([[1.1, 1.5], [1.0, 2.0]]))
    np.testing.assert_allclose(actions, [[1.0, -1.0], [0.0, 0.0]], atol=1e-12)


@pytest.mark.parametrize("scale", [[0.0, 1.0], [-1.0, 1.0], [np.nan, 1.0], [[1.0], [1.0]]])
def test_a_scale_that_cannot_be_inverted_is_refused(scale: list[float]) -> None:
    with pytest.raises(ValueError, match="action scale"):
        ActionSpace(np.array(scale))


def test_a_chunk_of_another_arm_is_refused() -> None:
    space = ActionSpace(np.ones(7))
    with pytest.raises(ValueError, match="do not fit"):
        space.decode(np.zeros(7), np.zeros((10, 6)))
    with pytest.raises(ValueError, match="do not fit"):
        space.encode(np.zeros(6), np.zeros((10, 7)))
