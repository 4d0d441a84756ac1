from __future__ import annotations

import os
import socket
import subprocess
import sys
from typing import Any

import pytest

from rlt_ros.bench import domain, faults
from rlt_ros.bench.fault_probe import ObservedStep
from rlt_ros.bench.faults import missed
from rlt_ros.bench.training_graph import Held, lost_rows, time_to_hold
from rlt_ros.cli import bench
from rlt_ros.rlt.transition import Source
from rlt_ros.store.interruption import EXIT_INTERRUPTED

GOOD: dict[str, Any] = {
    "node": "inference",
    "holds": True,
    "rows_before": 100,
    "lost_rows": 0,
    "held_ms": 20.0,
    "kill_to_hold_ms": 200.0,
    "restarted_s": 1.0,
    "moves_s": 4.0,
    "goes_on_s": 9.0,
    "new_rows": 80,
    "new_updates": 40,
}


def executed(*sources: Source, start: float = 10.0, period: float = 0.02) -> list[ObservedStep]:
    """One step per period."""
    return [
        ObservedStep(start + number * period, source, 1, number, 0) for number, source in enumerate(sources)
    ]


def rounded(held: Held | None) -> tuple[float, float] | None:
    return held and (round(held.after_input, 3), round(held.after_kill, 3))


def test_a_chunk_ends_with_its_last_row() -> None:
    steps = executed(Source.ACTOR, Source.ACTOR, Source.ACTOR, Source.HOLD, Source.HOLD, Source.HOLD)
    assert rounded(time_to_hold(steps, 10.01, sensed=None, until=11.0)) == (20.0, 50.0)


def test_joint_states_end_with_the_last_received_one() -> None:
    steps = executed(Source.ACTOR, Source.ACTOR, Source.ACTOR, Source.HOLD)
    assert rounded(time_to_hold(steps, 10.01, sensed=10.005, until=11.0)) == (55.0, 50.0)


def test_a_hold_before_a_later_motion_does_not_count() -> None:
    steps = executed(Source.ACTOR, Source.HOLD, Source.VLA, Source.VLA, Source.HOLD)
    assert rounded(time_to_hold(steps, 10.01, sensed=None, until=11.0)) == (20.0, 70.0)
    assert time_to_hold(steps[:4], 10.01, sensed=None, until=11.0) is None
    assert time_to_hold(steps[:1], 10.01, sensed=None, until=11.0) is None


def test_motion_after_the_restart_of_the_node_does_not_count() -> None:
    steps = executed(Source.ACTOR, Source.HOLD, Source.ACTOR, period=0.5)
    assert rounded(time_to_hold(steps, 10.0, sensed=None, until=11.0)) == (500.0, 500.0)


def test_an_arm_that_held_already_is_at_rest_at_once() -> None:
    assert rounded(time_to_hold(executed(Source.HOLD), 10.0, sensed=None, until=11.0)) == (0.0, 0.0)


def test_rows_are_lost_when_they_are_missing_or_differ_or_were_only_claimed() -> None:
    before = {(1, 0): b"a", (1, 2): b"b"}
    assert lost_rows(before, {**before, (2, 0): b"c"}, claimed=2) == 0
    assert lost_rows(before, {(1, 0): b"a"}, claimed=2) == 1
    assert lost_rows(before, {(1, 0): b"a", (1, 2): b"x"}, claimed=2) == 1
    assert lost_rows(before, before, claimed=3) == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"lost_rows": 3}, "3 committed rows"),
        ({"held_ms": None, "kill_to_hold_ms": None}, "does not hold"),
        ({"held_ms": 140.0}, "holds 140 ms"),
        ({"kill_to_hold_ms": 500.0}, "500 ms after the kill"),
        ({"goes_on_s": None}, "does not continue"),
    ],
)
def test_a_failed_requirement_is_printed_and_sets_the_exit_status(
    change: dict[str, Any], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    result: dict[str, Any] = {
        "lock_step": False,
        "boundary": "block",
        "faults": [GOOD, {**GOOD, **change}],
        "stopped": EXIT_INTERRUPTED,
    }
    result["policy_in_use_ms"] = [120.0, 290.0]
    result["missed"] = missed(result)
    (text,) = result["missed"]
    assert message in text
    assert bench.status(result) == bench.EXIT_MISSED
    bench.present(result)
    assert f"missed: {text}" in capsys.readouterr().out


def test_good_figures_fail_no_requirement() -> None:
    harmless = {**GOOD, "node": "monitor", "holds": False, "held_ms": None, "kill_to_hold_ms": None}
    result: dict[str, Any] = {
        "boundary": "block",
        "faults": [GOOD, harmless],
        "policy_in_use_ms": [290.0],
        "stopped": EXIT_INTERRUPTED,
    }
    assert missed(result) == []
    assert bench.status({**result, "missed": []}) == 0
    assert missed({**result, "stopped": 2}) == ["the graph ended with status 2"]
    assert missed({**result, "policy_in_use_ms": [90.0, 320.0]}) == [
        "a policy was in use 320 ms after its arrival"
    ]


def test_a_killed_node_restarts_and_training_continues(monkeypatch: pytest.MonkeyPatch) -> None:
    # Restored afterwards; the benchmark chooses its own domain.
    monkeypatch.setenv("ROS_DOMAIN_ID", "0")
    monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    result = faults.run(nodes=("perception",), policies=1)
    (fault,) = result["faults"]
    assert (fault["lost_rows"], result["stopped"]) == (0, EXIT_INTERRUPTED)
    assert fault["rows_before"] > 0 and fault["new_rows"] > 0 and fault["new_updates"] > 0
    assert fault["held_ms"] is not None
    assert len(result["policy_in_use_ms"]) == 1 and result["policy_in_use_ms"][0] > 0.0
    assert 0.0 < fault["restarted_s"] <= fault["moves_s"] <= fault["goes_on_s"]


@pytest.fixture
def free_domain(monkeypatch: pytest.MonkeyPatch) -> int:
    """Only domain to choose from."""
    # Restored afterwards.
    monkeypatch.setenv("ROS_DOMAIN_ID", "0")
    monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    free = domain.reserve_domain()
    domain._reserved.pop().close()
    monkeypatch.setattr(domain, "_DOMAINS", (free,))
    return free


def test_a_domain_with_a_participant_is_not_chosen(free_domain: int) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as participant:
        participant.bind(("", domain._port(free_domain, 0)))
        with pytest.raises(OSError, match="every ROS_DOMAIN_ID"):
            domain.use_own_domain()
    assert domain.use_own_domain() == free_domain
    assert os.environ["ROS_DOMAIN_ID"] == str(free_domain)


def test_a_domain_that_another_process_chose_is_not_chosen_again(free_domain: int) -> None:
    choose = (
        "from rlt_ros.bench import domain;"
        f"domain._DOMAINS = ({free_domain},); print(domain.use_own_domain(), flush=True); input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", choose], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline().split() == [str(free_domain)]
        with pytest.raises(OSError, match="every ROS_DOMAIN_ID"):
            domain.use_own_domain()
        other.communicate("\n")
    assert domain.use_own_domain() == free_domain
