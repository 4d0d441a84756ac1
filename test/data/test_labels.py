"""Grippers brought to one convention, rows of a human found, vectors cut by their descriptions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlt_ros.data.agibot import Fields
from rlt_ros.data.errors import DataError, EpisodeError
from rlt_ros.data.grippers import GripperScale, GripperValues, estimate_scales
from rlt_ros.data.interventions import human_rows

GRIP = np.concatenate([np.zeros(5), np.linspace(0, 1, 20), np.ones(5)])


def one_side(state: np.ndarray, action: np.ndarray) -> tuple[GripperScale, GripperScale]:
    scales = estimate_scales([GripperValues(np.stack([state, state], 1), np.stack([action, action], 1))])
    return scales.state[0], scales.action[0]


@pytest.mark.parametrize(
    "state",
    [
        # AgiBot World, millimetres
        35 + 85 * GRIP,
        # Genie Sim's data
        1.28 * 120 * (0.78 - 0.78 * (1 - GRIP)),
        # Genie Sim 3.0.3's policy state.
        20 + 100 * GRIP,
        # Radians of the URDF
        0.7854 * (1 - GRIP),
        # G2
        -0.785 * (1 - GRIP),
        GRIP,
    ],
    ids=["world", "sim", "v3.0.3", "urdf", "g2", "ratio"],
)
def test_every_published_convention_becomes_open_0_and_closed_1(state: np.ndarray) -> None:
    scale, action = one_side(state, GRIP)
    assert scale.observed
    assert np.allclose(scale.normalise(state), GRIP, atol=1e-6)
    assert np.allclose(action.normalise(GRIP), GRIP)


def test_a_state_that_lags_behind_its_action_keeps_its_direction() -> None:
    scale, _ = one_side(0.78 * (1 - np.roll(GRIP, 4)), GRIP)
    assert (scale.open, scale.closed) == pytest.approx((0.78, 0.0))


@pytest.mark.parametrize(
    ("value", "expected"), [(90.0, (0.0, 120.0)), (0.3, (0.0, 1.0)), (-0.5, (-0.785, 0.0))]
)
def test_a_gripper_that_never_moved_says_that_its_range_is_a_guess(
    value: float, expected: tuple[float, float]
) -> None:
    scale, _ = one_side(np.full(30, value), GRIP)
    assert ((scale.open, scale.closed), scale.observed) == (expected, False)


@given(
    open_=st.floats(-200, 200),
    closed=st.floats(-200, 200),
    values=st.lists(st.floats(0, 1), min_size=1, max_size=20),
)
def test_values_between_open_and_closed_are_normalised(
    open_: float, closed: float, values: list[float]
) -> None:
    if abs(open_ - closed) < 1e-2:
        closed = open_ + 1.0
    scale = GripperScale(open_, closed)
    tolerance = 1e-5 + 1e-4 / abs(open_ - closed)
    raw = (open_ + np.array(values) * (closed - open_)).astype(np.float32)
    assert np.allclose(scale.normalise(raw), values, atol=tolerance)


@pytest.mark.parametrize(
    ("label", "rows"),
    [
        (None, []),
        ([], []),
        ({}, []),
        ([{"start_frame_index": 2, "end_frame_index": 4}], [2, 3, 4]),
        ([{"start_frame": 0, "end_frame": 0}, {"start": 5, "end": 6}], [0, 5, 6]),
        ([[1, 2], [4, 4]], [1, 2, 4]),
        ([3, 5], [3, 4, 5]),
        ({"segments": [{"start": 1, "end": 2}], "operator": "x"}, [1, 2]),
        ([False, True, True, False, False, False, True, False], [1, 2, 6]),
        ([0, 0, 1, 0, 0, 0, 0, 0], [2]),
    ],
)
@pytest.mark.parametrize("key", ["take_over", "intervention_info"])
def test_labels_in_every_known_form_name_the_rows_of_a_human(label: Any, rows: list[int], key: str) -> None:
    assert np.flatnonzero(human_rows({key: {"0": label}}, 0, 8)).tolist() == rows


@pytest.mark.parametrize(
    ("label", "message"),
    [
        ("yes", "unknown form"),
        ([1, 2, 3], "unknown form"),
        ({"human": True}, "unknown form"),
        ([{"start_frame_index": 2, "end_frame_index": 8}], "outside its rows"),
        ([[5, 3]], "outside its rows"),
        ([[-1, 3]], "outside its rows"),
    ],
)
def test_labels_that_cannot_be_understood_are_not_guessed_at(label: Any, message: str) -> None:
    with pytest.raises(EpisodeError, match=message):
        human_rows({"take_over": {"0": label}}, 0, 8)


def test_fields_are_cut_by_their_indices_in_their_order() -> None:
    fields = Fields({"a": {"indices": [4, 1]}, "none": {"indices": []}}, 6, "action")
    vectors = np.arange(12.0).reshape(2, 6)
    assert fields.take(vectors, "a", 2).tolist() == [[4, 1], [10, 7]]
    assert fields.find(vectors, "none") is None
    with pytest.raises(EpisodeError, match="lacks the field b of action"):
        fields.take(vectors, "b", 1)
    with pytest.raises(EpisodeError, match="2 values in a of action, not 14"):
        fields.take(vectors, "a", 14)


@pytest.mark.parametrize("indices", [[6], [-1], ["0"], None, {"0": 1}])
def test_indices_outside_the_vector_are_refused(indices: Any) -> None:
    with pytest.raises(DataError, match="expected numbers below 6"):
        Fields({"a": {"indices": indices}}, 6, "action")
