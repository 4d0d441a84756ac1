"""No wrong motion over the graph: `executor_node` of each kind of interface next to drivers that lie.

``RLT_SAFETY_SECONDS`` sets how long each robot is disturbed, and disturbs every profile that ships.
"""

from __future__ import annotations

import os
from typing import Any

import pytest
from random_robot import RandomRobot

from rlt_ros.robots.profile import load_profile, profile_names

SECONDS = float(os.environ.get("RLT_SAFETY_SECONDS", "5"))
ROBOTS = profile_names() if "RLT_SAFETY_SECONDS" in os.environ else ["franka_fr3", "agibot_g1_real", "so101"]


@pytest.mark.parametrize("robot", ROBOTS)
def test_no_command_over_the_graph_is_too_far_from_the_arm_or_too_fast(
    graph: Any, start_node: Any, robot: str
) -> None:
    node = start_node("executor_node", robot=robot, discovery_time=0.2, takeover_time=0.5)
    arm = RandomRobot(graph, load_profile(robot), seed=len(robot))
    arm.run(SECONDS)
    print(f"{robot}: {arm.steps} steps, {arm.commands} commands, {len(arm.violations)} violations")
    assert arm.violations == []
    assert arm.commands > 0
    assert node.process.poll() is None, "the executor ended"
