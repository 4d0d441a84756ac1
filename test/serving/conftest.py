"""Server of a run, opened once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from policy_of_a_run import write_run

from rlt_ros.serving.genie_sim import GenieSimSession
from rlt_ros.serving.policy import ServedPolicy, ServingConfig, open_run
from rlt_ros.serving.websocket import WebSocketServer


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("run"))


@pytest.fixture
def policy(run: Path) -> ServedPolicy:
    return open_run(run, ServingConfig())


@pytest.fixture
def server(policy: ServedPolicy) -> Iterator[WebSocketServer]:
    server = WebSocketServer(lambda: GenieSimSession(policy), max_bytes=2**20)
    server.start()
    yield server
    server.close()
