"""``rlt-ros event``: received once by each subscriber, or an error with a remedy."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from rlt_ros.cli.event import EVENTS
from rlt_ros.episodes.machine import Event
from rlt_ros.middleware.messages import EpisodeEvent
from rlt_ros.ros import qos

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 60.0  # s


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "rlt_ros.cli.main", "event", *arguments]


def run_event(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*arguments), capture_output=True, text=True, cwd=ROOT, timeout=PATIENCE, check=False
    )


def test_every_event_of_the_graph_can_be_told() -> None:
    assert [name.upper() for name in EVENTS] == [event.name for event in Event]


@pytest.mark.parametrize("namespace", ["", "/left"])
def test_an_event_is_heard_once_for_the_episode_that_runs(graph: Any, namespace: str) -> None:
    heard: list[Any] = []
    listener = graph.node("listener", namespace=namespace)
    listener.create_subscription(EpisodeEvent, "rlt/episode_event", heard.append, qos.EPISODE_EVENT)
    arguments = ["reset_done", "--namespace", namespace, "--reason", "by hand", "--json"]
    process = subprocess.Popen(
        command(*arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT
    )
    graph.until(lambda: process.poll() is not None, what="the command is done")
    out, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, errors
    assert json.loads(out.splitlines()[-1])["heard_by"] == [f"{namespace}/listener"]
    graph.until(lambda: heard, what="the event")
    (message,) = heard
    assert (message.event, message.episode, message.origin) == (EpisodeEvent.RESET_DONE, 0, "operator")
    assert (message.header.stamp.sec, message.reason) == (0, "by hand")


def test_who_is_not_heard_is_told_where_somebody_listens(graph: Any) -> None:
    graph.node("listener", namespace="left").create_subscription(
        EpisodeEvent, "rlt/episode_event", print, qos.EPISODE_EVENT
    )
    result = run_event("success", "--timeout", "2")
    assert result.returncode == 2
    assert "/rlt/episode_event had no subscriber within 2 s; give --namespace left" in result.stderr


def test_without_a_graph_the_remedy_is_to_start_one(graph: Any) -> None:
    result = run_event("success", "--timeout", "0.5")
    assert result.returncode == 2
    assert "rlt-ros launch" in result.stderr


def test_what_is_no_event_is_answered_with_those_that_are() -> None:
    result = run_event("e_stop")
    assert result.returncode == 2
    assert "'success'" in result.stderr
