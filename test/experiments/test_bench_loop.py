from __future__ import annotations

import pytest

from rlt_ros.bench import loop
from rlt_ros.robots.profile import DEFAULT_ROBOT


def test_one_process_and_the_graph_store_the_same_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROS_DOMAIN_ID", "0")  # restored afterwards; the benchmark chooses its own
    monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    monkeypatch.setattr(loop, "_CASES", ((DEFAULT_ROBOT, "charger"),))
    monkeypatch.setattr(loop, "_SEEDS", (1,))
    result = loop.run(episodes=1)
    assert result["missed"] == []
    (row,) = result["loop"]
    assert row["equal_rows"] == row["rows"] > 10


def test_a_row_that_differs_is_reported() -> None:
    row = {"robot": "ur5e", "task": "screw", "seed": 2, "graph_rows": 3, "rows": 3, "equal_rows": 2}
    assert not loop._is_equal(row)
    assert "2 of 3 rows" in loop._difference(row)
