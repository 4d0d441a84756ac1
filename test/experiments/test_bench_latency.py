from __future__ import annotations

import time

import numpy as np
import pytest

from rlt_ros.bench import latency
from rlt_ros.bench.bare_timer import BareTimer, bare_timer


def test_every_figure_is_measured_on_a_real_graph(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROS_DOMAIN_ID", "0")  # restored afterwards; the benchmark chooses its own
    monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    monkeypatch.setattr(latency, "_LOCK_STEPS", 150)
    figures = latency.run(seconds=2.5)
    assert figures["take_overs"] >= 1
    for name in ("period_error_ms", "stick_to_command_ms", "picture_to_command_ms"):
        assert 0.0 <= figures[name]["median"] <= figures[name]["p99"] <= figures[name]["max"]
    assert figures["missed_by_bare_timer"] <= figures["missed_periods"]


def test_a_bare_timer_ticks_and_counts_late_ticks() -> None:
    with bare_timer(0.002) as stop:
        end = time.monotonic() + 0.02
        while time.monotonic() < end:
            pass
        ticks = stop().ticks
    assert len(ticks) > 1 and (np.diff(ticks) > 0).all()
    late = BareTimer(np.array([0, 10, 20, 45, 55], np.int64), 10e-9)
    assert [late.missed(*span) for span in ((0, 20), (15, 30), (40, 60), (66, 80))] == [0, 1, 1, 0]
