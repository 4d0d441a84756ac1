"""Lifecycle nodes with the states and transitions of ROS 2's managed nodes.

They have no services here, so a lifecycle manager cannot control them; the process triggers its own transitions.
"""

from __future__ import annotations

import enum
from typing import Any, NamedTuple

from rlt_ros.middleware.dds.endpoints import Publisher
from rlt_ros.middleware.dds.message import Message
from rlt_ros.middleware.dds.node import Node


class TransitionCallbackReturn(enum.Enum):
    """Result of a transition."""

    SUCCESS = 97
    FAILURE = 98
    ERROR = 99


class LifecycleState(NamedTuple):
    """State by name and number, as in `lifecycle_msgs`."""

    label: str
    state_id: int


State = LifecycleState

_UNKNOWN, _UNCONFIGURED, _INACTIVE, _ACTIVE, _FINALIZED = (
    LifecycleState(label, number)
    for number, label in enumerate(("unknown", "unconfigured", "inactive", "active", "finalized"))
)
_TRANSITIONS = {
    "configure": ((_UNCONFIGURED,), _INACTIVE),
    "activate": ((_INACTIVE,), _ACTIVE),
    "deactivate": ((_ACTIVE,), _INACTIVE),
    "cleanup": ((_INACTIVE,), _UNCONFIGURED),
    "shutdown": ((_UNCONFIGURED, _INACTIVE, _ACTIVE), _FINALIZED),
}
"""Transition → (states from which it starts, state in which it ends)."""


class InvalidTransition(RuntimeError):
    """Transition that does not start from the node's state."""


class LifecyclePublisher(Publisher):
    """Publisher that drops messages while its node is not active."""

    is_activated = False

    def publish(self, msg: Message | bytes) -> None:
        """Publish a message, see :meth:`Publisher.publish`."""
        if self.is_activated:
            super().publish(msg)


class LifecycleNode(Node):
    """Node with lifecycle states. See ``rclpy.lifecycle.LifecycleNode``.

    Overrides of ``on_configure`` and the like must call the method here, which controls the lifecycle publishers.
    """

    def __init__(self, node_name: str, **options: Any) -> None:
        super().__init__(node_name, **options)
        self._lifecycle_state = _UNCONFIGURED
        self._lifecycle_publishers: list[LifecyclePublisher] = []

    def create_lifecycle_publisher(self, *args: Any, **options: Any) -> LifecyclePublisher:
        """Create a publisher that is active with the node; arguments are those of ``create_publisher``."""
        publisher = self.create_publisher(*args, **options, publisher_class=LifecyclePublisher)
        assert isinstance(publisher, LifecyclePublisher)
        self._lifecycle_publishers.append(publisher)
        return publisher

    def destroy_lifecycle_publisher(self, publisher: LifecyclePublisher) -> bool:
        """Remove a publisher; returns whether it belonged to this node."""
        if publisher in self._lifecycle_publishers:
            self._lifecycle_publishers.remove(publisher)
        return self.destroy_publisher(publisher)

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Allocate resources; ``state`` is the previous state."""
        return TransitionCallbackReturn.SUCCESS

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Start work."""
        self._set_activated(True)
        return TransitionCallbackReturn.SUCCESS

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Pause work."""
        self._set_activated(False)
        return TransitionCallbackReturn.SUCCESS

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Release the resources of :meth:`on_configure`."""
        return TransitionCallbackReturn.SUCCESS

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Release all resources."""
        return TransitionCallbackReturn.SUCCESS

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Handle a failed transition: SUCCESS leads to unconfigured, any other result to finalized."""
        return TransitionCallbackReturn.SUCCESS

    def trigger_configure(self) -> TransitionCallbackReturn:
        """Trigger unconfigured → inactive."""
        return self._change_state("configure")

    def trigger_activate(self) -> TransitionCallbackReturn:
        """Trigger inactive → active."""
        return self._change_state("activate")

    def trigger_deactivate(self) -> TransitionCallbackReturn:
        """Trigger active → inactive."""
        return self._change_state("deactivate")

    def trigger_cleanup(self) -> TransitionCallbackReturn:
        """Trigger inactive → unconfigured."""
        return self._change_state("cleanup")

    def trigger_shutdown(self) -> TransitionCallbackReturn:
        """Trigger any state → finalized."""
        return self._change_state("shutdown")

    def _set_activated(self, activated: bool) -> None:
        for publisher in self._lifecycle_publishers:
            publisher.is_activated = activated

    def _change_state(self, transition: str) -> TransitionCallbackReturn:
        starts, end = _TRANSITIONS[transition]
        before = self._lifecycle_state
        if before not in starts:
            raise InvalidTransition(
                f"{self.get_name()} is {before.label}; `{transition}` does not start there"
            )
        result = self._call(f"on_{transition}", before)
        if result is TransitionCallbackReturn.SUCCESS:
            self._lifecycle_state = end
        elif result is TransitionCallbackReturn.ERROR:
            recovered = self._call("on_error", before) is TransitionCallbackReturn.SUCCESS
            self._lifecycle_state = _UNCONFIGURED if recovered else _FINALIZED
        return result

    def _call(self, name: str, state: LifecycleState) -> TransitionCallbackReturn:
        try:
            result = getattr(self, name)(state)
        except Exception as error:
            self.get_logger().error(f"{name} raised {type(error).__name__}: {error}")
            return TransitionCallbackReturn.ERROR
        assert isinstance(result, TransitionCallbackReturn)
        return result
