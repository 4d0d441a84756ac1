"""Messages of another run are dropped and counted, whatever their kind; a person's events pass."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlt_ros.middleware import Node, serialize_message
from rlt_ros.middleware.messages import (
    ActionChunk,
    ChunkRequest,
    DiagnosticArray,
    EpisodeEvent,
    EpisodeState,
    ExecutedStep,
    Header,
    Intervention,
    LearnerStatus,
    Observation,
    PolicyUpdate,
    ReplayStatus,
    RLState,
    String,
)
from rlt_ros.ros import qos
from rlt_ros.ros.diagnostics import Diagnostics
from rlt_ros.ros.parameters import declare
from rlt_ros.ros.runs import carries_run, run_id_in
from rlt_ros.ros.settings import Setup
from rlt_ros.ros.topics import Topics

KINDS = (
    ActionChunk, ChunkRequest, EpisodeEvent, EpisodeState, ExecutedStep, Intervention, LearnerStatus, Observation,
    PolicyUpdate, ReplayStatus, RLState,
)  # fmt: skip
TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))
OURS = "here-1-20260101T000000"


class Listener:
    """Node of one run, and another program that publishes arbitrary messages."""

    def __init__(self, graph: Any, kind: Any, run_id: str, *, raw: bool = False) -> None:
        self.graph, self.node = (
            graph,
            graph.add(Node("listener", cli_args=["--ros-args", "-p", f"run_id:='{run_id}'"])),
        )
        declare(self.node, "", Setup)
        self.diagnostics = Diagnostics(self.node)
        self.topics = Topics(self.node, self.diagnostics)
        self.heard: list[Any] = []
        self.topics.subscription(kind, "topic", self.heard.append, qos.RL_STATE, raw=raw)
        self.stranger = graph.node("stranger").create_publisher(kind, "topic", qos.RL_STATE)
        self.counts: dict[str, str] = {}
        self.stranger_node = graph.node("reader")
        self.stranger_node.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, 10)
        graph.until(lambda: self.stranger.get_subscription_count() == 1)

    def _on_diagnostics(self, message: Any) -> None:
        for status in message.status:
            if status.name.endswith(": runs"):
                self.counts = {one.key: one.value for one in status.values}

    def hears(self, *messages: Any) -> list[str]:
        """Run ids of what arrives of some messages; the last one must."""
        before = len(self.heard)
        for message in messages:
            self.stranger.publish(message)
        self.graph.until(lambda: self.heard[before:] and _run_id(self.heard[-1]) == messages[-1].run_id)
        return [_run_id(message) for message in self.heard[before:]]


def _run_id(message: Any) -> str:
    return run_id_in(message) if isinstance(message, bytes) else str(message.run_id)


@pytest.fixture
def listener(graph: Any) -> Callable[..., Listener]:
    return lambda kind, run_id=OURS, **options: Listener(graph, kind, run_id, **options)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_what_another_run_sends_is_dropped_and_counted_by_kind(listener: Any, kind: Any) -> None:
    here = listener(kind)
    messages = [kind(run_id="there-2-x"), kind(run_id=OURS[:-1]), kind(run_id=""), kind(run_id=OURS)]
    person = [""] if kind is EpisodeEvent else []
    assert here.hears(*messages) == [*person, OURS]
    dropped = str(3 - len(person))
    here.graph.until(lambda: here.counts.get(f"{kind.__name__} of another run") == dropped)


def test_bytes_that_are_recorded_as_they_come_are_filtered_too(listener: Any) -> None:
    here = listener(RLState, raw=True)
    assert here.hears(RLState(run_id="there-2-x"), RLState(run_id=OURS)) == [OURS]


def test_a_node_without_run_takes_every_message(listener: Any) -> None:
    here = listener(ActionChunk, "")
    assert here.hears(ActionChunk(run_id="x"), ActionChunk(), ActionChunk(run_id="y")) == ["x", "", "y"]


def test_what_is_sent_carries_the_id(graph: Any, listener: Any) -> None:
    here = listener(RLState)
    seen: list[Any] = []
    graph.node("other").create_subscription(RLState, "out", seen.append, qos.RL_STATE)
    publisher = here.topics.publisher(RLState, "out", qos.RL_STATE)
    graph.until(lambda: publisher.get_subscription_count() == 1)
    publisher.publish(RLState())
    graph.until(lambda: seen)
    assert seen[0].run_id == OURS


def test_every_message_of_this_package_with_a_header_carries_a_run_next_to_it() -> None:
    for kind in KINDS:
        assert list(kind.get_fields_and_field_types())[:2] == ["header", "run_id"]
    assert not carries_run(String)


@given(frame=TEXTS, run_id=TEXTS)
def test_the_id_is_found_in_the_bytes_of_any_message(frame: str, run_id: str) -> None:
    message = RLState(header=Header(frame_id=frame), run_id=run_id, z=[1.0, 2.0])
    assert run_id_in(serialize_message(message)) == run_id


@given(data=st.binary(max_size=64))
def test_bytes_that_hold_no_id_are_named_as_such_and_never_crash(data: bytes) -> None:
    try:
        run_id_in(data)
    except ValueError as error:
        assert str(error)
