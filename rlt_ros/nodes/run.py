"""``main`` of every node: joins the graph, makes the node, calls back until its end, and returns the exit status."""

from __future__ import annotations

import errno
import functools
import inspect
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import TypeVar

from rlt_ros.bringup import MISCONFIGURED
from rlt_ros.middleware import (
    Executor,
    ExternalShutdownException,
    LifecycleNode,
    MultiThreadedExecutor,
    Node,
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
from rlt_ros.rlt.storage import StorageError

EXIT_CRASHED = 1

_PATIENCE = 2.0  # s, for callbacks that run while the node leaves
_REASONS: dict[str, str] = {}
"""Name of a node of this process → reason of its last failed transition."""

N = TypeVar("N", bound=LifecycleNode)


class ShutdownRequested(Exception):
    """Raised in a callback: the node has done all that it was asked for, and leaves with status 0."""


class NodeConfigurationError(Exception):
    """Raised when a node cannot do its work here; the message says what to change."""


def run_node(factory: Callable[[], Node], *, threads: int = 1, args: Sequence[str] | None = None) -> int:
    """Run a node until SIGINT, SIGTERM, :class:`ShutdownRequested` or an error, and return the exit status.

    It starts only where no other node has its name or publishes what a graph has once (`rlt_ros.nodes.company`). A
    lifecycle node is configured and activated first, unless its parameter ``autostart`` is false.

    An error after the context was shut down, by a signal as a rule, is no crash: most calls of the middleware fail
    then, each with an exception of its own.

    Args:
        factory: makes the node.
        threads: how many callbacks may run at once; callback groups limit which.
        args: command line; the process's own by default.

    Returns:
        0 when it was asked to stop or is finished, 1 after a crash, 2 when it cannot start as it is configured, or a
        file of the run cannot be written.
    """
    run = _Run(factory, threads, list(sys.argv if args is None else args))
    try:
        _take_signals()
        run.spin()
        status = 0
    except (KeyboardInterrupt, ExternalShutdownException):
        status = 0
    except Exception as error:
        status = run.status_after(error)
    finally:
        _ignore_further_signals()
        left = run.leave()
    return status if left else max(status, EXIT_CRASHED)


class _Run:
    """A node with its executor, from the start of the process to its end."""

    def __init__(self, factory: Callable[[], Node], threads: int, words: list[str]) -> None:
        self._factory, self._threads, self._words = factory, threads, words
        self._joined = False
        self._node: Node | None = None
        self._executor: Executor | None = None

    def spin(self) -> None:
        """Join the graph, make the node and call back until it ends."""
        init(args=self._words)
        self._joined = True
        executable = Path(inspect.getfile(self._factory)).stem
        require_alone(lambda lookout: [claim_of(executable, self._words, lookout)])
        node = self._node = self._factory()
        single = self._threads == 1
        executor = self._executor = (
            SingleThreadedExecutor() if single else MultiThreadedExecutor(self._threads)
        )
        executor.add_node(node)
        if isinstance(node, LifecycleNode):
            _autostart(node)
        executor.spin()

    def status_after(self, error: Exception) -> int:
        """Log an error that ended the node, and return the exit status."""
        if isinstance(error, ShutdownRequested):
            if self._node and str(error):
                self._node.get_logger().info(str(error))
            return 0
        if self._is_shut_down():
            _log(
                self._node, f"ignored, since the node is shut down: {type(error).__name__}: {error}", "debug"
            )
            return 0
        if isinstance(error, ConfigError | NodeConfigurationError | StorageError) or _is_full_disk(error):
            _log(self._node, str(error))
            return MISCONFIGURED
        _log(self._node, traceback.format_exc())
        return EXIT_CRASHED

    def leave(self) -> bool:
        """Stop the executor, destroy the node and leave the graph, each of them whatever became of the others.

        Returns:
            Whether all went well; an error is logged, and counts only if the context was up.
        """
        steps: list[Callable[[], object]] = [try_shutdown]
        if self._node:
            steps.insert(0, self._node.destroy_node)
        if self._executor:
            steps.insert(0, functools.partial(self._executor.shutdown, timeout_sec=_PATIENCE))
        successes = [self._attempt(step) for step in steps]
        # The middleware has given the signals back to the handlers before it.
        _ignore_further_signals()
        return all(successes)

    def _attempt(self, step: Callable[[], object]) -> bool:
        was_shut_down = self._is_shut_down()
        try:
            step()
        except StorageError as error:
            _log(self._node, str(error), "error")
            return False
        except Exception:
            _log(self._node, f"error while the node shuts down: {traceback.format_exc()}", "error")
            return was_shut_down
        return True

    def _is_shut_down(self) -> bool:
        """Return whether the process has been in the graph and its context is down; before `init` it is down too."""
        return self._joined and not ok()


def _is_full_disk(error: Exception) -> bool:
    """Return whether there is no room for a file, which starting again would not change."""
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)


def _take_signals() -> None:
    """Set handlers that end the node; the program's start may have set others."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, _interrupt_once)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _interrupt_once(number: int, frame: FrameType | None) -> None:
    """Raise KeyboardInterrupt for the first SIGINT, and let nothing interrupt the clean-up after it."""
    signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def _ignore_further_signals() -> None:
    """A terminal's Ctrl-C and the launcher's own signal both arrive; the second must not cut the clean-up short."""
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)


def log_failures(
    transition: Callable[[N, State], TransitionCallbackReturn],
) -> Callable[[N, State], TransitionCallbackReturn]:
    """For the transitions of a lifecycle node: an exception is logged and the transition fails.

    Without it ROS 2 swallows the exception, and nobody learns why the node does not start.
    """

    @functools.wraps(transition)
    def explain(node: N, state: State) -> TransitionCallbackReturn:
        try:
            return transition(node, state)
        except (ConfigError, NodeConfigurationError) as error:
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
            raise NodeConfigurationError(f"{node.get_name()} could not be {name}: {reason}")


def _log(node: Node | None, text: str, severity: str = "fatal") -> None:
    if node:
        getattr(node.get_logger(), severity)(text)
    elif severity != "debug":
        print(text, file=sys.stderr, flush=True)
