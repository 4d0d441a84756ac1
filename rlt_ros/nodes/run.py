"""``main`` of every node: joins the graph, makes the node, calls back until it is over, and says with what status."""

from __future__ import annotations

import functools
import inspect
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from rlt_ros.bringup import MISCONFIGURED
from rlt_ros.middleware import (
    Executor,
    ExternalShutdownException,
    LifecycleNode,
    MultiThreadedExecutor,
    Node,
    RCLError,
    SingleThreadedExecutor,
    State,
    TransitionCallbackReturn,
    init,
    ok,
    try_shutdown,
)
from rlt_ros.middleware.messages import ParameterDescriptor
from rlt_ros.nodes.company import claim_of, require_alone
from rlt_ros.rlt.parameters import ConfigError

EXIT_CRASHED = 1

_PATIENCE = 2.0  # s, for callbacks that run while the node leaves
_REASONS: dict[str, str] = {}
"""Name of a node of this process → reason of its last failed transition."""

N = TypeVar("N", bound=LifecycleNode)


class Finished(Exception):
    """Raised in a callback: the node has done all that it was asked for, and leaves with status 0."""


class CannotStart(Exception):
    """Raised when a node cannot do its work here; the message says what to change."""


def run_node(factory: Callable[[], Node], *, threads: int = 1, args: Sequence[str] | None = None) -> int:
    """Run a node until SIGINT, SIGTERM, :class:`Finished` or an error, and return the exit status of the process.

    It starts only where no other node has its name or publishes what a graph has once (`rlt_ros.nodes.company`). A
    lifecycle node is configured and activated first, unless its parameter ``autostart`` is false.

    Args:
        factory: makes the node.
        threads: how many callbacks may run at once; what may run beside what, callback groups say.
        args: command line; the process's own by default.

    Returns:
        0 when it was asked to stop or is finished, 1 after a crash, 2 when it cannot start as it is configured.
    """
    node: Node | None = None
    executor: Executor | None = None
    try:
        if threading.current_thread() is threading.main_thread():
            signal.signal(
                signal.SIGINT, signal.default_int_handler
            )  # the program's start may have set others
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
        words = list(sys.argv if args is None else args)
        init(args=words)
        executable = Path(inspect.getfile(factory)).stem
        require_alone(lambda lookout: [claim_of(executable, words, lookout)])
        node = factory()
        executor = SingleThreadedExecutor() if threads == 1 else MultiThreadedExecutor(threads)
        executor.add_node(node)
        if isinstance(node, LifecycleNode):
            _autostart(node)
        executor.spin()
    except (KeyboardInterrupt, ExternalShutdownException):
        return 0
    except Finished as finished:
        if node and str(finished):
            node.get_logger().info(str(finished))
        return 0
    except (ConfigError, CannotStart) as error:
        _tell(node, str(error))
        return MISCONFIGURED
    except Exception as error:
        if isinstance(error, RCLError) and not ok():
            return 0  # rclpy looks at the context before it waits, and a signal may come between the two
        _tell(node, traceback.format_exc())
        return EXIT_CRASHED
    finally:
        _ignore_further_signals()
        if executor:
            executor.shutdown(timeout_sec=_PATIENCE)
        if node:
            node.destroy_node()
        try_shutdown()
    return 0


def _ignore_further_signals() -> None:
    """A terminal's Ctrl-C and the launcher's own signal both arrive; the second must not cut the clean-up short."""
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)


def explained(
    transition: Callable[[N, State], TransitionCallbackReturn],
) -> Callable[[N, State], TransitionCallbackReturn]:
    """For the transitions of a lifecycle node: an exception is logged and the transition fails.

    Without it ROS 2 swallows the exception, and nobody learns why the node does not start.
    """

    @functools.wraps(transition)
    def explain(node: N, state: State) -> TransitionCallbackReturn:
        try:
            return transition(node, state)
        except (ConfigError, CannotStart) as error:
            _REASONS[node.get_name()] = str(error)
            node.get_logger().error(str(error))
        except Exception as error:
            _REASONS[node.get_name()] = f"{type(error).__name__}: {error}"
            node.get_logger().error(traceback.format_exc())
        return TransitionCallbackReturn.FAILURE

    return explain


def _autostart(node: LifecycleNode) -> None:
    descriptor = ParameterDescriptor(
        description="Configure and activate the node when it starts, instead of waiting for a lifecycle manager.",
        read_only=True,
    )
    if not node.declare_parameter("autostart", True, descriptor).value:
        return
    for name, trigger in (("configured", node.trigger_configure), ("activated", node.trigger_activate)):
        result = trigger()
        if result != TransitionCallbackReturn.SUCCESS:
            reason = _REASONS.get(node.get_name(), result.name)
            raise CannotStart(f"{node.get_name()} could not be {name}: {reason}")


def _tell(node: Node | None, text: str) -> None:
    if node:
        node.get_logger().fatal(text)
    else:
        print(text, file=sys.stderr, flush=True)
