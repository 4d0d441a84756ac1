from __future__ import annotations

from typing import Any

import pytest

from rlt_ros import middleware
from rlt_ros.middleware import LifecycleNode, QoSProfile, State, TransitionCallbackReturn
from rlt_ros.middleware.messages import String

SUCCESS, FAILURE, ERROR = (
    TransitionCallbackReturn.SUCCESS,
    TransitionCallbackReturn.FAILURE,
    TransitionCallbackReturn.ERROR,
)


class Arm(LifecycleNode):
    """Notes its transitions; `refuses` says what a transition returns instead of SUCCESS."""

    def __init__(self, refuses: dict[str, Any] | None = None) -> None:
        super().__init__("arm")
        self.seen: list[tuple[str, str]] = []
        self.refuses = refuses or {}

    def _note(self, name: str, state: State) -> Any:
        self.seen.append((name, state.label))
        answer = self.refuses.get(name, SUCCESS)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def on_configure(self, state: State) -> Any:
        return self._note("configure", state)

    def on_activate(self, state: State) -> Any:
        super().on_activate(state)
        return self._note("activate", state)

    def on_deactivate(self, state: State) -> Any:
        super().on_deactivate(state)
        return self._note("deactivate", state)

    def on_cleanup(self, state: State) -> Any:
        return self._note("cleanup", state)

    def on_shutdown(self, state: State) -> Any:
        return self._note("shutdown", state)


def test_transitions_tell_the_state_before(graph: Any) -> None:
    node = graph.add(Arm())
    for trigger in ("configure", "activate", "deactivate", "cleanup", "shutdown"):
        assert getattr(node, f"trigger_{trigger}")() == SUCCESS
    assert node.seen == [
        ("configure", "unconfigured"),
        ("activate", "inactive"),
        ("deactivate", "active"),
        ("cleanup", "inactive"),
        ("shutdown", "unconfigured"),
    ]


def test_a_lifecycle_publisher_is_silent_unless_the_node_is_active(graph: Any) -> None:
    node = graph.add(Arm())
    heard: list[str] = []
    graph.node("listener").create_subscription(String, "command", lambda m: heard.append(m.data), 10)
    command = node.create_lifecycle_publisher(String, "command", QoSProfile(depth=10))
    graph.until(command.get_subscription_count)

    def say(text: str) -> None:
        command.publish(String(data=text))

    say("unconfigured")
    node.trigger_configure()
    say("inactive")
    node.trigger_activate()
    say("active")
    node.trigger_deactivate()
    say("inactive again")
    node.trigger_activate()
    say("end")
    graph.until(lambda: "end" in heard)
    assert heard == ["active", "end"]


def test_a_failed_transition_leaves_the_state_as_it_was(graph: Any) -> None:
    node = graph.add(Arm({"configure": FAILURE}))
    assert node.trigger_configure() == FAILURE
    node.refuses.clear()
    assert node.trigger_configure() == SUCCESS
    assert node.seen[-1] == ("configure", "unconfigured")


@pytest.mark.parametrize("trouble", [ERROR, RuntimeError("no model")])
def test_after_an_error_the_node_starts_anew(graph: Any, trouble: Any) -> None:
    node = graph.add(Arm({"activate": trouble}))
    node.trigger_configure()
    assert node.trigger_activate() == ERROR
    node.refuses.clear()
    assert node.trigger_configure() == SUCCESS
    assert node.seen[-1] == ("configure", "unconfigured")


def test_a_transition_starts_from_its_own_states_only(graph: Any) -> None:
    node = graph.add(Arm())
    with pytest.raises(Exception):  # noqa: B017  # rclpy raises an RCLError, which has no public name
        node.trigger_activate()
    assert node.seen == []


def test_a_destroyed_lifecycle_publisher_leaves_the_topic(graph: Any) -> None:
    node = graph.add(Arm())
    publisher = node.create_lifecycle_publisher(String, "command", QoSProfile(depth=10))
    graph.until(lambda: node.count_publishers("command") == 1)
    assert node.destroy_lifecycle_publisher(publisher)
    graph.until(lambda: node.count_publishers("command") == 0)
    assert node.trigger_configure() == SUCCESS
    assert node.trigger_activate() == SUCCESS


def test_both_implementations_name_the_same() -> None:
    import ast
    from pathlib import Path

    folder = Path(middleware.__file__).parent

    def names(module: str) -> list[str]:
        for node in ast.parse((folder / module).read_text()).body:
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
                return list(ast.literal_eval(node.value))
        raise AssertionError(module)

    assert names("from_rclpy.py") == names("from_dds.py")
