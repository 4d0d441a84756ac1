"""Goals of a gripper: rejected, lost or reached. With ROS 2 on a real action server."""

from __future__ import annotations

import importlib
from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any

import pytest

from rlt_ros.middleware.actions import ABORTED, SUCCEEDED
from rlt_ros.middleware.choice import IMPLEMENTATION
from rlt_ros.robots.gripper import ACTION_TYPES, GripperProfile
from rlt_ros.ros import gripper_goals
from rlt_ros.ros.diagnostics import OK, WARN, Diagnostics
from rlt_ros.ros.gripper_goals import GripperGoals
from rlt_ros.ros.gripper_output import GripperOutput
from rlt_ros.ros.topics import Topics

PROFILE = GripperProfile(
    "finger", open=0.04, closed=0.0, type="gripper_command", topic="hand/act", rate=1000.0, effort=20.0
)


class Driver:
    """Stands where rclpy's action client does, which is not to be had without ROS 2; its futures are Python's own."""

    def __init__(self) -> None:
        self.ready = True
        self.goals: list[Any] = []
        self.answers: list[Future[Any]] = []
        self.results: list[Future[Any]] = []
        command = SimpleNamespace(position=0.0, max_effort=0.0)
        self.kind = SimpleNamespace(Goal=lambda: SimpleNamespace(command=command))

    def server_is_ready(self) -> bool:
        return self.ready

    def send_goal_async(self, goal: Any) -> Future[Any]:
        self.goals.append((goal.command.position, goal.command.max_effort))
        self.answers.append(Future())
        return self.answers[-1]

    def answer(self, *, accepted: bool) -> None:
        self.results.append(Future())
        result = self.results[-1]
        self.answers[-1].set_result(SimpleNamespace(accepted=accepted, get_result_async=lambda: result))

    def end(self, status: int, *, position: float, stalled: bool = False) -> None:
        result = SimpleNamespace(position=position, stalled=stalled)
        self.results[-1].set_result(SimpleNamespace(status=status, result=result))


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> Driver:
    made = Driver()
    monkeypatch.setattr(gripper_goals, "action_client", lambda *_: (made, made.kind))
    return made


@pytest.fixture
def goals(driver: Driver, graph: Any) -> GripperGoals:
    return GripperGoals(graph.node("commands"), PROFILE, "finger")


def test_a_goal_that_is_reached_counts_and_is_not_sent_again(goals: GripperGoals, driver: Driver) -> None:
    goals.send(0.04)
    driver.answer(accepted=True)
    driver.end(SUCCEEDED, position=0.04)
    assert driver.goals == [(0.04, 20.0)] and not goals.was_lost()
    assert goals.report()[:2] == (OK, "hand/act reached 0.04") and goals.report()[2]["goals_succeeded"] == 1


def test_a_goal_that_is_refused_is_lost_once_and_said(goals: GripperGoals, driver: Driver) -> None:
    goals.send(0.0)
    driver.answer(accepted=False)
    assert goals.report()[:2] == (WARN, "hand/act goal 0 rejected")
    assert goals.was_lost() and not goals.was_lost()


def test_without_a_server_nothing_is_sent(goals: GripperGoals, driver: Driver) -> None:
    driver.ready = False
    goals.send(0.0)
    assert driver.goals == [] and goals.was_lost() and goals.report()[0] == WARN


def test_the_answer_to_an_older_goal_says_nothing_of_the_newest(goals: GripperGoals, driver: Driver) -> None:
    goals.send(0.0)
    driver.answer(accepted=True)
    goals.send(0.04)
    driver.end(ABORTED, position=0.01)
    assert goals.report()[1] == "hand/act goal 0.04 sent" and goals.report()[2]["goals_aborted"] == 1


def test_fingers_that_hold_something_have_not_failed(goals: GripperGoals, driver: Driver) -> None:
    goals.send(0.0)
    driver.answer(accepted=True)
    driver.end(ABORTED, position=0.012, stalled=True)
    assert goals.report()[:2] == (OK, "hand/act holds an object at 0.012, goal 0")


@pytest.mark.skipif(IMPLEMENTATION != "rclpy", reason="actions need ROS 2")
@pytest.mark.parametrize("kind", ACTION_TYPES)
def test_goals_at_a_real_server(graph: Any, kind: str) -> None:
    from rclpy.action import ActionServer, GoalResponse

    action = getattr(importlib.import_module("control_msgs.action"), ACTION_TYPES[kind].split("/")[-1])
    node = graph.node("commands")
    profile = GripperProfile("finger", open=0.04, closed=0.0, type=kind, topic="hand/act", rate=1000.0)
    one = GripperOutput(node, Topics(node, Diagnostics(node)), profile, "finger")
    heard: list[Any] = []
    takes = [GoalResponse.REJECT, GoalResponse.ACCEPT, GoalResponse.ACCEPT]
    one.send(0.0, 0)
    assert one.report()[:2] == (WARN, "hand/act has no server; the gripper does not move")

    def execute(handle: Any) -> Any:
        heard.append(handle.request)
        handle.succeed()
        return action.Result(reached_goal=True)

    server = ActionServer(
        graph.node("driver"), action, "hand/act", execute, goal_callback=lambda _: takes.pop(0)
    )

    def until(words: str) -> None:
        def reported() -> bool:
            one.send(0.0, 0)
            return words in one.report()[1]

        graph.until(reported, what=words)

    until("goal 0 rejected")
    until("reached 0")
    for _ in range(20):
        one.send(0.0, 0)  # unchanged
    one.send(0.04, 0)
    graph.until(lambda: one.report()[2].get("goals_succeeded") == 2, what="the second goal")
    assert len(heard) == 2 and one.report()[0] == OK
    one.close()
    server.destroy()
