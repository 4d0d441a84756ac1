from __future__ import annotations

import threading
from typing import Any

from rlt_ros.middleware.messages import String


def test_subscriptions_can_be_counted_while_they_come_and_go(graph: Any) -> None:
    node = graph.node("n")
    publisher = node.create_publisher(String, "words", 1)
    counts: list[int] = []
    errors: list[Exception] = []
    over = threading.Event()

    def count() -> None:
        try:
            while not over.is_set():
                counts.append(publisher.get_subscription_count())
        except Exception as error:
            errors.append(error)

    thread = threading.Thread(target=count)
    thread.start()
    try:
        for _ in range(30):
            subscriptions = [node.create_subscription(String, "words", print, 1) for _ in range(5)]
            for one in subscriptions:
                node.destroy_subscription(one)
    finally:
        over.set()
        thread.join()
    assert errors == []
    assert max(counts) > 0
    graph.until(lambda: publisher.get_subscription_count() == 0, what="all subscriptions are gone")
