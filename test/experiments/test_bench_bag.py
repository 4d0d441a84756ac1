from __future__ import annotations

import pytest

from rlt_ros.bench import bag


def test_a_replay_rebuilt_from_the_bag_is_the_live_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROS_DOMAIN_ID", "0")  # restored afterwards; the benchmark chooses its own
    monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    result = bag.run(episodes=1)
    assert result["missed"] == []
    for states in ("recorded", "computed"):
        assert result[states]["equal_rows"] == result["live_rows"] > 10


def test_a_row_that_differs_is_reported() -> None:
    good = {"rows": 3, "equal_rows": 3, "times_real_time": 9.0}
    result = {"live_rows": 3, "recorded": good, "computed": {**good, "equal_rows": 2}}
    assert bag.missed(result) == ["computed states: 2 of 3 rows are among the 3 live ones"]
