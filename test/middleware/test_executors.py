from __future__ import annotations

import contextlib
import threading
from typing import Any

import pytest

from rlt_ros.middleware import (
    ExternalShutdownException,
    MultiThreadedExecutor,
    MutuallyExclusiveCallbackGroup,
    Node,
    ReentrantCallbackGroup,
    SingleThreadedExecutor,
    init,
    try_shutdown,
)
from rlt_ros.middleware.messages import String

PATIENCE = 120.0  # s; a busy machine may take this long for work of milliseconds


@pytest.fixture
def threads() -> Any:
    """A multi-threaded executor that spins in a thread, and a node of it."""
    init(args=[])
    executor, node = MultiThreadedExecutor(3), Node("n")
    executor.add_node(node)
    stop = threading.Event()
    errors: list[BaseException] = []

    def spin() -> None:
        while not stop.is_set():
            try:
                executor.spin_once(timeout_sec=0.1)
            except ZeroDivisionError as error:
                errors.append(error)

    thread = threading.Thread(target=spin, daemon=True)
    thread.start()
    yield node, errors
    stop.set()
    thread.join(PATIENCE)
    executor.shutdown(timeout_sec=PATIENCE)
    node.destroy_node()
    try_shutdown()
    assert not thread.is_alive()


def test_a_busy_topic_does_not_starve_a_timer(graph: Any) -> None:
    node = graph.node("n")
    publisher = node.create_publisher(String, "flood", 10)
    # Each message brings the next one, so there always is one.
    node.create_subscription(String, "flood", publisher.publish, 10)
    ticks: list[int] = []
    node.create_timer(0.01, lambda: ticks.append(1))
    graph.until(lambda: publisher.get_subscription_count())
    publisher.publish(String(data="x"))
    graph.until(lambda: len(ticks) >= 5)


def test_busy_topics_take_turns(graph: Any) -> None:
    node, heard = graph.node("n"), []
    publishers = [node.create_publisher(String, f"flood{i}", 10) for i in range(3)]

    def on(index: int) -> Any:
        return lambda message: (heard.append(index), publishers[index].publish(message))

    for index in range(3):
        node.create_subscription(String, f"flood{index}", on(index), 10)
    graph.until(lambda: all(one.get_subscription_count() for one in publishers))
    for one in publishers:
        one.publish(String(data="x"))
    graph.until(lambda: min(heard.count(index) for index in range(3)) >= 10)


def test_a_node_may_leave_an_executor_that_goes_on(graph: Any) -> None:
    stays, goes, heard = graph.node("stays"), Node("goes"), []
    publisher = stays.create_publisher(String, "words", 10)
    goes.create_subscription(String, "words", heard.append, 10)
    graph.executor.add_node(goes)
    graph.until(lambda: publisher.get_subscription_count() == 1)
    publisher.publish(String(data="a"))
    graph.until(lambda: heard)
    graph.executor.remove_node(goes)
    goes.destroy_node()
    sentinel: list[Any] = []
    stays.create_subscription(String, "words", sentinel.append, 10)
    graph.until(lambda: publisher.get_subscription_count() == 1)
    publisher.publish(String(data="b"))
    graph.until(lambda: sentinel)
    assert [message.data for message in heard] == ["a"]


def test_an_exception_of_a_callback_comes_out_of_spin(graph: Any) -> None:
    node = graph.node("n")
    timer = node.create_timer(0.001, lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        graph.until(lambda: False)
    timer.cancel()
    done: list[int] = []
    node.create_timer(0.001, lambda: done.append(1))
    graph.until(lambda: done)


def test_a_callback_may_destroy_its_own_subscription(graph: Any) -> None:
    node = graph.node("n")
    publisher, heard = node.create_publisher(String, "words", 10), []

    def once(message: Any) -> None:
        heard.append(message.data)
        node.destroy_subscription(subscription)

    subscription = node.create_subscription(String, "words", once, 10)
    sentinel: list[Any] = []
    node.create_subscription(String, "words", sentinel.append, 10)
    graph.until(lambda: publisher.get_subscription_count() == 2)
    publisher.publish(String(data="a"))
    graph.until(lambda: heard)
    graph.until(lambda: publisher.get_subscription_count() == 1)
    publisher.publish(String(data="b"))
    graph.until(lambda: len(sentinel) == 2)
    assert heard == ["a"]


def test_shutting_down_ends_a_thread_that_spins() -> None:
    for _ in range(5):
        init(args=[])
        executor, node, ticked = SingleThreadedExecutor(), Node("n"), threading.Event()
        node.create_timer(0.001, ticked.set)
        executor.add_node(node)
        ended: list[BaseException | None] = []

        def spin(executor: SingleThreadedExecutor = executor, ended: list[Any] = ended) -> None:
            try:
                executor.spin()
                ended.append(None)
            except BaseException as error:
                ended.append(error)

        thread = threading.Thread(target=spin, daemon=True)
        thread.start()
        assert ticked.wait(PATIENCE)
        try_shutdown()
        thread.join(PATIENCE)
        assert len(ended) == 1 and (ended[0] is None or isinstance(ended[0], ExternalShutdownException))


def test_reentrant_callbacks_run_beside_each_other(threads: Any) -> None:
    node, _ = threads
    meeting, met = threading.Barrier(2), threading.Event()

    def meet() -> None:
        with contextlib.suppress(threading.BrokenBarrierError):  # a timer that is alone at the end
            meeting.wait(PATIENCE)
            met.set()

    group = ReentrantCallbackGroup()
    timers = [node.create_timer(0.01, meet, group) for _ in range(2)]
    assert met.wait(PATIENCE)
    meeting.abort()
    for timer in timers:
        timer.cancel()


def test_callbacks_of_a_mutually_exclusive_group_do_not(threads: Any) -> None:
    node, _ = threads
    inside, together, done = threading.Lock(), [], threading.Event()
    count = [0]

    def enter() -> None:
        if not inside.acquire(blocking=False):
            together.append(1)
            return
        count[0] += 1
        if count[0] == 20:
            done.set()
        inside.release()

    group = MutuallyExclusiveCallbackGroup()
    timers = [node.create_timer(0.001, enter, group) for _ in range(3)]
    assert done.wait(PATIENCE)
    for timer in timers:
        timer.cancel()
    assert together == []


def test_a_slow_callback_does_not_hold_up_another_group(threads: Any) -> None:
    node, _ = threads
    release, started, went_on = threading.Event(), threading.Event(), threading.Event()

    def slow() -> None:
        started.set()
        release.wait(PATIENCE)

    slow_timer = node.create_timer(0.01, slow)
    assert started.wait(PATIENCE)
    timer = node.create_timer(0.01, went_on.set, MutuallyExclusiveCallbackGroup())
    assert went_on.wait(PATIENCE)
    release.set()
    slow_timer.cancel()
    timer.cancel()


def test_what_comes_while_its_group_is_busy_is_delivered_after(threads: Any) -> None:
    node, _ = threads
    release, started, done, heard = threading.Event(), threading.Event(), threading.Event(), []
    publisher = node.create_publisher(String, "words", 10)

    def on_message(message: Any) -> None:
        started.set()
        release.wait(PATIENCE)
        heard.append(message.data)
        if len(heard) == 5:
            done.set()

    sent: list[int] = []
    passed: list[int] = []

    def tick() -> None:
        if publisher.get_subscription_count() and not sent:
            sent.append(1)
            for word in "abcde":
                publisher.publish(String(data=word))
        if started.is_set():  # the executor looked around more than once while the group was busy
            passed.append(1)
        if len(passed) == 5:
            release.set()

    node.create_subscription(String, "words", on_message, 10)
    timer = node.create_timer(0.01, tick, MutuallyExclusiveCallbackGroup())
    assert done.wait(PATIENCE)
    timer.cancel()
    assert heard == list("abcde")


def test_an_exception_in_a_thread_comes_out_of_spin(threads: Any) -> None:
    node, errors = threads
    raised = threading.Event()

    def fail() -> None:
        raised.set()
        raise ZeroDivisionError

    timer = node.create_timer(0.01, fail)
    assert raised.wait(PATIENCE)
    later = threading.Event()
    node.create_timer(0.01, lambda: later.set() if errors else None)
    assert later.wait(PATIENCE)
    timer.cancel()
