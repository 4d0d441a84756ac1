"""Node on the shared modules, for `test_support.py`."""

from __future__ import annotations

import signal
import sys
from dataclasses import dataclass

from rlt_ros.middleware import LifecycleNode, State, TransitionCallbackReturn, try_shutdown
from rlt_ros.middleware.messages import ExecutedStep, String
from rlt_ros.ros import qos
from rlt_ros.ros.diagnostics import Diagnostics, Dropped
from rlt_ros.ros.parameters import declare
from rlt_ros.ros.run import NodeConfigurationError, ShutdownRequested, log_failures, run_node
from rlt_ros.ros.topics import Topics
from rlt_ros.store.parameters import check, parameter


@dataclass(frozen=True)
class ArmConfig:
    speed: float = parameter(1.0, help="How fast.", unit="rad/s", low=0.0, high=2.0, source="data sheet")
    steps: int = parameter(3, help="How many.", low=1)
    names: tuple[str, ...] = parameter((), help="Which.")
    start: bool = parameter(True, help="Whether it can be configured.")
    stuck: bool = parameter(False, help="Whether it fails while it is destroyed.")
    interrupted: bool = parameter(False, help="Whether SIGINT comes again during and after the clean-up.")

    def __post_init__(self) -> None:
        check(self)


class ArmNode(LifecycleNode):
    """Publishes on `said` the messages of `orders`, and its activation."""

    def __init__(self) -> None:
        super().__init__("arm_node")
        self._config = declare(self, "arm", ArmConfig)
        diagnostics = Diagnostics(self)
        self._dropped = Dropped(diagnostics)
        topics = Topics(self, diagnostics)
        self._said = topics.publisher(String, "said", qos.COMMAND, while_active=True)
        topics.subscription(String, "orders", self._on_order, qos.EPISODE_EVENT)
        topics.subscription(ExecutedStep, "rlt/executed_step", lambda _: None, qos.EXECUTED_STEP)

    @log_failures
    def on_configure(self, state: State) -> TransitionCallbackReturn:
        if not self._config.start:
            raise NodeConfigurationError("the brakes are on; release them")
        return super().on_configure(state)

    def _on_order(self, message: String) -> None:
        if message.data == "crash":
            raise RuntimeError("out of oil")
        if message.data == "late":
            try_shutdown()
            raise KeyError("a handle that is gone")
        if message.data == "finish":
            raise ShutdownRequested("all done")
        if message.data == "nonsense":
            self._dropped.add("bad order", "nonsense is no order")
        self._said.publish(String(data=f"{message.data} {self._config.speed}"))

    def destroy_node(self) -> None:
        if self._config.interrupted:
            signal.raise_signal(signal.SIGINT)
        super().destroy_node()
        if self._config.stuck:
            raise OSError("the brake does not close")
        print("parked", flush=True)


if __name__ == "__main__":
    status = run_node(ArmNode, threads=2)
    if "arm.interrupted:=true" in sys.argv:
        signal.raise_signal(signal.SIGINT)
    sys.exit(status)
