"""Shared modules of nodes: parameters from dataclasses, topics, diagnostics, and main."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from rlt_ros.middleware import Node, Parameter, QoSProfile, ReliabilityPolicy
from rlt_ros.middleware.messages import DiagnosticArray, ExecutedStep, String
from rlt_ros.rlt.config import RLTConfig
from rlt_ros.ros.diagnostics import WARN
from rlt_ros.ros.parameters import declare
from rlt_ros.store.parameters import ConfigError, check, parameter

CHILD = Path(__file__).with_name("support_child.py")
PATIENCE = 120.0  # s; a busy machine may take this long for work of milliseconds


@dataclass(frozen=True)
class Inner:
    rate: float = parameter(5.0, help="How often.", unit="Hz", low=1.0)

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True)
class Outer:
    names: tuple[str, ...] = parameter((), help="Which.")
    weights: tuple[float, ...] = parameter((1.0, 2.0), help="How much.")
    limit: float | None = parameter(None, help="How far; none leaves it free.", low=0.0)
    kind: str = parameter("slow", help="How.", choices=("slow", "fast"))
    inner: Inner = field(default_factory=Inner)

    def __post_init__(self) -> None:
        check(self)


def node_with(graph: Any, **values: Any) -> Node:
    overrides = [Parameter(name.replace("__", "."), value=value) for name, value in values.items()]
    return graph.add(Node("configured", parameter_overrides=overrides))


def test_declared_defaults_build_the_default(graph: Any) -> None:
    node = node_with(graph)
    assert declare(node, "rlt", RLTConfig) == RLTConfig()
    assert declare(node, "outer", Outer) == Outer()


def test_values_reach_the_instance_by_section_and_nesting(graph: Any) -> None:
    node = node_with(
        graph, outer__names=["a", "b"], outer__inner__rate=2.0, outer__limit=0.5, outer__kind="fast"
    )
    expected = Outer(names=("a", "b"), inner=Inner(rate=2.0), limit=0.5, kind="fast")
    assert declare(node, "outer", Outer) == expected


def test_without_a_section_names_have_no_prefix(graph: Any) -> None:
    assert declare(node_with(graph, rate=3.0), "", Inner) == Inner(rate=3.0)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"outer__inner__rate": 0.5}, "outer.inner.rate"),
        ({"outer__kind": "quick"}, "allowed: slow, fast"),
        ({"outer__weights": "heavy"}, "outer.weights"),
        ({"outer__names": 3}, "names"),
    ],
)
def test_a_value_that_does_not_fit_names_the_parameter(
    graph: Any, values: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        declare(node_with(graph, **values), "outer", Outer)


def test_parameters_are_described_and_fixed(graph: Any) -> None:
    node = node_with(graph)
    declare(node, "rlt", RLTConfig)
    described = node.describe_parameter("rlt.gamma")
    assert "Discount per control step" in described.description
    assert "Source:" in described.description
    assert (described.floating_point_range[0].from_value, described.floating_point_range[0].to_value) == (
        0,
        1,
    )
    assert described.read_only
    (result,) = node.set_parameters([Parameter("rlt.gamma", value=0.5)])
    assert not result.successful
    assert node.describe_parameter("rlt.beta_mode").additional_constraints == "fixed | disagreement | success"


class Arm:
    """`support_child.py` as a process, and a node that talks to it."""

    def __init__(self, graph: Any, log: Path, *arguments: str) -> None:
        self.graph, self.log = graph, log
        with log.open("ab") as file:
            self.process = subprocess.Popen(
                [sys.executable, str(CHILD), "--ros-args", *arguments],
                stdout=file,
                stderr=file,
                cwd=CHILD.parents[2],
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
            )
        node = graph.node("operator")
        self.node = node
        self.said: list[str] = []
        self.statuses: dict[str, Any] = {}
        self.orders = node.create_publisher(String, "orders", 10)
        self.words = node.create_subscription(String, "said", lambda m: self.said.append(m.data), 10)
        node.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, 10)

    def _on_diagnostics(self, array: Any) -> None:
        self.statuses.update({status.name: status for status in array.status})

    def meet(self) -> None:
        """Wait until it answers."""

        def answered() -> bool:
            if self.orders.get_subscription_count() and self.node.count_publishers("said"):
                self.orders.publish(String(data="hello"))
            return bool(self.said)

        self.graph.until(answered)

    def order(self, text: str) -> None:
        self.graph.until(self.orders.get_subscription_count)
        self.orders.publish(String(data=text))

    def status(self, task: str) -> Any:
        return self.statuses.get(f"/arm_node: {task}")

    def left_with(self) -> int:
        return self.process.wait(PATIENCE)


@pytest.fixture
def arm(graph: Any, tmp_path: Path) -> Iterator[Any]:
    arms: list[Arm] = []

    def start(*arguments: str) -> Arm:
        arms.append(Arm(graph, tmp_path / "log", *arguments))
        return arms[-1]

    yield start
    for one in arms:
        one.process.kill()
        one.process.wait()
        print(one.log.read_text())


def test_a_lifecycle_node_starts_by_itself_with_its_parameters(arm: Any) -> None:
    one = arm("-p", "arm.speed:=1.5")
    one.meet()
    assert one.said[0] == "hello 1.5"


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_node_without_complaint(arm: Any, how: signal.Signals) -> None:
    one = arm()
    one.meet()
    one.process.send_signal(how)
    assert one.left_with() == 0
    assert "Traceback" not in one.log.read_text()


def test_a_node_that_has_finished_leaves_with_status_0(arm: Any) -> None:
    one = arm()
    one.meet()
    one.order("finish")
    assert one.left_with() == 0
    assert "all done" in one.log.read_text()


def test_a_crash_shows_its_traceback_and_has_status_1(arm: Any) -> None:
    one = arm()
    one.meet()
    one.order("crash")
    assert one.left_with() == 1
    assert "RuntimeError: out of oil" in one.log.read_text()


def test_an_error_after_the_context_is_down_is_no_crash(arm: Any) -> None:
    one = arm()
    one.meet()
    one.order("late")
    assert one.left_with() == 0
    log = one.log.read_text()
    assert "Traceback" not in log and "parked" in log


@pytest.mark.parametrize(("end", "status"), [("finish", 1), ("crash", 1), ("late", 0)])
def test_an_error_while_a_node_is_destroyed_is_logged(arm: Any, end: str, status: int) -> None:
    """Error status if the context was up, since nothing else explains the error."""
    one = arm("-p", "arm.stuck:=true")
    one.meet()
    one.order(end)
    assert one.left_with() == status
    log = one.log.read_text()
    assert "[ERROR]" in log and "OSError: the brake does not close" in log


def test_a_second_interrupt_does_not_cut_the_clean_up_short(arm: Any) -> None:
    one = arm("-p", "arm.interrupted:=true")
    one.meet()
    one.process.send_signal(signal.SIGINT)
    assert one.left_with() == 0
    log = one.log.read_text()
    assert "parked" in log and "Traceback" not in log


@pytest.mark.parametrize(
    ("argument", "text"),
    [
        ("arm.speed:=3.0", "arm.speed"),
        ("arm.steps:=fast", "arm.steps"),
        ("arm.start:=false", "the brakes are on"),
    ],
)
def test_what_cannot_start_as_it_is_configured_has_status_2(arm: Any, argument: str, text: str) -> None:
    one = arm("-p", argument)
    assert one.left_with() == 2
    assert text in one.log.read_text()
    assert "Traceback" not in one.log.read_text()


def test_diagnostics_say_what_was_dropped_and_how_often_messages_come(arm: Any) -> None:
    one = arm()
    one.meet()
    one.order("nonsense")
    dropped = lambda: one.status("input") and one.status("input").level == WARN  # noqa: E731
    one.graph.until(dropped, what="a warning")
    status = one.status("input")
    assert status.message == "1 dropped, last: bad order: nonsense is no order"
    assert [(pair.key, pair.value) for pair in status.values] == [("bad order", "1")]
    rates = {pair.key: pair.value for pair in one.status("topics").values}
    assert rates.keys() == {"orders", "rlt/executed_step"}
    assert rates["orders"].endswith(" Hz")


def test_age_is_measured_from_the_header(arm: Any) -> None:
    one = arm()
    one.meet()
    steps = one.node.create_publisher(ExecutedStep, "rlt/executed_step", 10)
    one.graph.until(steps.get_subscription_count)
    message = ExecutedStep()
    message.header.stamp = one.node.get_clock().now().to_msg()
    steps.publish(message)

    def measured() -> bool:
        status = one.status("topics")
        return bool(status) and any("ms old" in pair.value for pair in status.values)

    one.graph.until(measured)


def test_a_quality_of_service_that_does_not_fit_is_reported(arm: Any) -> None:
    one = arm()
    one.meet()
    unreliable = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
    one.node.create_publisher(ExecutedStep, "rlt/executed_step", unreliable)

    def reported() -> bool:
        status = one.status("topics")
        return bool(status) and status.level == WARN

    one.graph.until(reported)
    assert "rlt/executed_step" in one.status("topics").message
    assert any("reliability" in pair.value for pair in one.status("topics").values)


def test_quality_of_service_can_be_overridden(arm: Any) -> None:
    one = arm("-p", "qos_overrides./said.publisher.reliability:=best_effort")
    one.graph.until(
        lambda: any(
            found.qos_profile.reliability == ReliabilityPolicy.BEST_EFFORT
            for found in one.node.get_publishers_info_by_topic("said")
        ),
        what="a publisher that is best effort",
    )
