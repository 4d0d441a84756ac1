"""Shipped weights: one folder per robot; `builtin` selects those of the current robot."""

from __future__ import annotations

import pytest

from rlt_ros.episodes.tasks import load_task
from rlt_ros.rlt.config import RLTConfig
from rlt_ros.robots.profile import load_profile
from rlt_ros.store.storage import StorageError
from rlt_ros.vla.fit import MisfitError, require_fit
from rlt_ros.vla.loading import load_frozen


@pytest.mark.parametrize(
    ("robot", "task"),
    [
        *(("agibot_g1_geniesim", task) for task in ("charger", "ethernet", "screw")),
        ("franka_fr3", "charger"),
        ("ur5e", "charger"),
    ],
)
def test_the_weights_of_a_robot_fit_it(robot: str, task: str) -> None:
    frozen = load_frozen("builtin", task, robot)
    require_fit(
        frozen.vla,
        load_profile(robot),
        chunk=RLTConfig().chunk,
        instruction=load_task(task).instruction,
        token=frozen.token,
    )


def test_those_of_another_robot_are_had_by_name_and_refused_where_they_do_not_fit() -> None:
    frozen = load_frozen("builtin:ur5e", "charger", "agibot_g1_geniesim")
    assert frozen.lineage == load_frozen("builtin", "charger", "ur5e").lineage
    with pytest.raises(MisfitError, match="joints"):
        require_fit(frozen.vla, load_profile("agibot_g1_geniesim"), chunk=RLTConfig().chunk)


@pytest.mark.parametrize("vla", ["builtin", "builtin:xarm7"])
def test_a_robot_without_weights_is_told_which_have_some(vla: str) -> None:
    with pytest.raises(
        StorageError,
        match=r"xarm7.*there are those of agibot_g1_geniesim, franka_fr3, ur5e.*pretrain --robot",
    ):
        load_frozen(vla, "charger", "xarm7")
