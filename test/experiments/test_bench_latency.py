from __future__ import annotations

import pytest

from rlt_ros.experiments.bench import latency


def test_every_figure_is_measured_on_a_real_graph(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROS_DOMAIN_ID", "0")  # restored afterwards; the benchmark chooses its own
    monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    monkeypatch.setattr(latency, "_STEPS", 150)
    figures = latency.run(seconds=2.5)
    assert figures["take_overs"] >= 1
    for name in ("period_error_ms", "stick_to_command_ms", "picture_to_command_ms"):
        assert 0.0 <= figures[name]["median"] <= figures[name]["p99"] <= figures[name]["max"]
