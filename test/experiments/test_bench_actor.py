from __future__ import annotations

from rlt_ros.bench import actor


def test_the_decision_contains_its_parts() -> None:
    figures = actor.run(repeats=3)
    assert figures["decision_ms"]["p99"] >= figures["decision_ms"]["median"] > 0
    assert figures["control_steps"] == figures["decision_ms"]["median"] * 50 / 1000
