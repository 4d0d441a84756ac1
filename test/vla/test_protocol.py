"""The protocol's records refuse what breaks them."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from rlt_ros.vla import ObservationBatch, ObservationError, VLASpec, check_observations

SPEC = VLASpec(("head", "hand"), (16, 32), proprio_dim=4, action_dim=2, horizon=10, embed_dim=8, tokens=4)


def observations() -> ObservationBatch:
    images = {camera: torch.zeros(3, 16, 32, 3, dtype=torch.uint8) for camera in ("hand", "head", "chest")}
    return ObservationBatch(images, torch.zeros(3, 4), ["go"] * 3)


def test_a_fitting_batch_passes_and_further_cameras_are_ignored() -> None:
    check_observations(observations(), SPEC)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"images": {"hand": torch.zeros(3, 16, 32, 3, dtype=torch.uint8)}}, "camera 'head' is missing"),
        ({"images": {"head": torch.zeros(3, 32, 32, 3, dtype=torch.uint8)}}, "must be uint8"),
        ({"images": {"head": torch.zeros(3, 16, 32, 3)}}, "must be uint8"),
        ({"proprio": torch.zeros(3, 5)}, r"proprio must be \(3, 4\)"),
        ({"proprio": torch.full((3, 4), torch.nan)}, "observation 0, element 0, is nan"),
        ({"instructions": []}, "empty"),
    ],
)
def test_the_error_names_what_does_not_fit(change: dict[str, object], message: str) -> None:
    with pytest.raises(ObservationError, match=message):
        check_observations(dataclasses.replace(observations(), **change), SPEC)


@pytest.mark.parametrize("change", [{"tokens": 0}, {"cameras": ()}, {"cameras": ("head", "head")}])
def test_a_spec_of_impossible_shape_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="at least"):
        dataclasses.replace(SPEC, **change)
