"""``main`` of every node: initialise, create the node, spin, clean up, and return the exit status."""

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
from rlt_ros.ros.exclusivity import claim_of, require_exclusive
from rlt_ros.store.parameters import ConfigError
from rlt_ros.store.storage import StorageError

EXIT_CRASHED = 1

_SHUTDOWN_TIMEOUT = 2.0
"""s, for running callbacks during the shutdown."""
_REASONS: dict[str, str] = {}
"""Name of a node of this process → reason of its last failed transition."""

N = TypeVar("N", bound=LifecycleNode)


class ShutdownRequested(Exception):
    """Raised in a callback when the work of the node is complete: it exits with status 0."""


class NodeConfigurationError(Exception):
    """Configuration or environment that a node cannot work with; the message contains the remedy."""


def run_node(factory: Callable[[], Node], *, threads: int = 1, args: Sequence[str] | None = None) -> int:
    """Run a node until SIGINT, SIGTERM, :class:`ShutdownRequested` or an error, and return the exit status.

    It starts only if no other node has its name or publishes its exclusive topics (`rlt_ros.ros.exclusivity`). A
    lifecycle node is configured and activated first, unless its parameter ``autostart`` is false.

    An error after the shutdown of the context, usually by a signal, is no crash: most calls of the middleware fail
    then, with various exceptions.

    Args:
        factory: creates the node.
        threads: maximum number of parallel callbacks, subject to callback groups.
        args: command line; default: that of the process.

    Returns:
        0 after a stop or at completion, 1 after a crash, 2 for a configuration error or a file that cannot be written.
    """
    run = _Run(factory, threads, list(sys.argv if args is None else args))
    try:
        _set_signal_handlers()
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
    """Node and executor, from the start of the process to its end."""

    def __init__(self, factory: Callable[[], Node], threads: int, words: list[str]) -> None:
        self._factory, self._threads, self._words = factory, threads, words
        self._joined = False
        self._node: Node | None = None
        self._executor: Executor | None = None

    def spin(self) -> None:
        """Initialise, create the node and spin until it ends."""
        init(args=self._words)
        self._joined = True
        executable = Path(inspect.getfile(self._factory)).stem
        require_exclusive(lambda observer: [claim_of(executable, self._words, observer)])
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
            _log(self._node, f"ignored after the shutdown: {type(error).__name__}: {error}", "debug")
            return 0
        if isinstance(error, ConfigError | NodeConfigurationError | StorageError) or _is_full_disk(error):
            _log(self._node, str(error))
            return MISCONFIGURED
        _log(self._node, traceback.format_exc())
        return EXIT_CRASHED

    def leave(self) -> bool:
        """Stop the executor, destroy the node and shut down the context; an error in one step does not skip the others.

        Returns:
            True without errors. Errors are logged, and ignored if the context was down already.
        """
        steps: list[Callable[[], object]] = [try_shutdown]
        if self._node:
            steps.insert(0, self._node.destroy_node)
        if self._executor:
            steps.insert(0, functools.partial(self._executor.shutdown, timeout_sec=_SHUTDOWN_TIMEOUT))
        successes = [self._attempt(step) for step in steps]
        # The shutdown of the middleware restored the previous signal handlers.
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
        """Return True after `init` if the context is down; before `init` it is down, too."""
        return self._joined and not ok()


def _is_full_disk(error: Exception) -> bool:
    """Return True for an error of a full disk, which a restart would not fix."""
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)


def _set_signal_handlers() -> None:
    """Set the signal handlers of the node; `start` may have set others."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, _interrupt_once)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _interrupt_once(number: int, frame: FrameType | None) -> None:
    """Raise KeyboardInterrupt for the first SIGINT and ignore further ones during the clean-up."""
    signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def _ignore_further_signals() -> None:
    """Ignore SIGINT and SIGTERM: Ctrl-C and the launcher both send one, and the second must not abort the clean-up."""
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)


def log_failures(
    transition: Callable[[N, State], TransitionCallbackReturn],
) -> Callable[[N, State], TransitionCallbackReturn]:
    """Decorate a lifecycle transition: log exceptions and return FAILURE.

    Without it ROS 2 discards the exception, and the log lacks the reason.
    """

    @functools.wraps(transition)
    def logged(node: N, state: State) -> TransitionCallbackReturn:
        try:
            return transition(node, state)
        except (ConfigError, NodeConfigurationError) as error:
            _REASONS[node.get_name()] = str(error)
            node.get_logger().error(str(error))
        except Exception as error:
            _REASONS[node.get_name()] = f"{type(error).__name__}: {error}"
            node.get_logger().error(traceback.format_exc())
        return TransitionCallbackReturn.FAILURE

    return logged


def _autostart(node: LifecycleNode) -> None:
    descriptor = ParameterDescriptor(
        description="Configure and activate the node at start, instead of waiting for a lifecycle manager.",
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
