"""Frames of demonstrations as samples."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from rlt_ros.data import DemonstrationError
from rlt_ros.data.frames import Frames, split

sys.path.append(str(Path(__file__).parents[1] / "vla"))
from synthetic import CAMERAS, demonstration, demonstrations


def test_a_frame_pairs_image_state_and_command_of_the_same_step() -> None:
    demos = demonstrations(2)
    frames = Frames(demos, CAMERAS)
    # Fifth frame of the second demonstration.
    index = len(demos[0].image_steps) + 4
    step = demos[1].image_steps[4]
    batch = frames.observations(torch.tensor([index]))
    assert np.array_equal(batch.images["head"][0].numpy(), demos[1].images["head"][4])
    assert np.allclose(batch.proprio[0], np.concatenate([demos[1].position[step], demos[1].velocity[step]]))
    assert batch.instructions == [demos[1].instruction]
    displacement = frames.displacements(torch.tensor([index]), 3)[0]
    assert np.allclose(displacement, demos[1].command[step : step + 3] - demos[1].position[step])
    assert np.allclose(frames.privileged(torch.tensor([index]))[0], demos[1].privileged[step])
    assert frames.episodes(torch.tensor([index])).tolist() == [1]


def test_the_goal_is_where_the_demonstration_ended_unless_it_failed() -> None:
    good, bad = demonstration("left", 0), dataclasses.replace(demonstration("left", 1), success=False)
    displacement, ended_well = Frames([good, bad], CAMERAS).goals(torch.tensor([0, len(good.image_steps)]))
    assert np.allclose(displacement[0], good.position[-1] - good.position[0])
    assert ended_well.tolist() == [True, False]


def test_a_demonstration_without_a_needed_camera_is_named() -> None:
    demo = demonstration("left", 7, cameras=("head",))
    with pytest.raises(DemonstrationError, match=r"left/7 lacks cameras \['hand_right'\]"):
        Frames([demo], CAMERAS)


def test_demonstrations_of_different_image_size_are_refused() -> None:
    with pytest.raises(DemonstrationError, match="differs"):
        Frames([demonstration("left", 0), demonstration("left", 1, size=48)], CAMERAS)


def test_probing_a_recording_without_truth_is_refused() -> None:
    demo = dataclasses.replace(demonstration("left", 0), privileged=None)
    with pytest.raises(DemonstrationError, match="no privileged truth"):
        Frames([demo], CAMERAS).privileged(torch.tensor([0]))


def test_the_split_holds_out_the_same_share_of_every_task() -> None:
    train, held_out = split(demonstrations(6), 3)
    assert [(d.task, d.seed) for d in held_out] == [("left", 2), ("left", 5), ("right", 2), ("right", 5)]
    assert len(train) == 8
