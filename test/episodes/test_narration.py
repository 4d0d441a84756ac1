"""Lines of a run: phase k of n, the policy next to the VLA, help of the operator, time left, a summary per phase."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from rlt_ros.episodes.narration import Goal, Narrator, duration, outcome

GOALS = (Goal("eval_base", episodes=2), Goal("train", minutes=1.0), Goal("eval_rlt", episodes=2))


class Run:
    """Adds episodes, one every 10 s."""

    def __init__(self) -> None:
        self.records: list[dict[str, Any]] = []
        self.now = 0.0
        self.narrator = Narrator(GOALS, self.records, lambda: self.now)

    def add(
        self, phase: str, *, success: bool = True, steps: int = 100, human: float = 0.0, minutes: float = 0.0
    ) -> list[str]:
        self.now += 10.0
        self.records.append(
            {
                "episode": len(self.records) + 1,
                "phase": phase,
                "success": success,
                "end": "success" if success else "timeout",
                "steps": steps,
                "human_share": human,
                "robot_minutes": minutes,
            }
        )
        return self.narrator.after(self.records)


def test_each_phase_is_counted_opened_and_summed_up() -> None:
    run = Run()
    assert run.narrator.opening([]) == "phase 1 of 3: evaluation of the frozen VLA, 0 of 2 episodes"
    assert run.add("eval_base") == [
        "episode 1: success after 100 steps; last 1: VLA 100 % in 100 steps; 1 of 2 episodes, about 10 s left"
    ]
    _, summary, opening = run.add("eval_base", success=False, steps=200)
    assert summary == "phase 1 of 3 done: evaluation of the frozen VLA: 50 % in 100 steps"
    assert opening == "phase 2 of 3: learning, 0.0 of 1 robot minutes"


def test_the_policy_stands_next_to_the_vla_with_the_time_that_is_left() -> None:
    run = Run()
    run.add("eval_base", steps=120)
    run.add("eval_base", success=False)
    run.add("warmup", minutes=0.25)
    (line,) = run.add("online", steps=60, minutes=0.5)
    assert line == (
        "episode 4: success after 60 steps; last 1: policy 100 % in 60 steps, VLA 50 % in 120 steps; "
        "0.5 of 1 robot minutes, about 20 s left"
    )


def test_an_episode_that_the_operator_finished_is_a_failure_of_the_policy() -> None:
    run = Run()
    run.add("eval_base")
    run.add("eval_base")
    line, summary, _ = run.add("online", steps=240, human=0.5, minutes=1.0)
    assert "failure of the policy, finished by the operator after 240 steps; last 1: policy 0 %" in line
    assert summary.endswith("1 episodes, 50 % of the robot time by the operator; last 1: policy 0 %")


def test_a_run_that_is_continued_opens_where_it_was() -> None:
    run = Run()
    run.add("eval_base")
    run.add("eval_base")
    again = Narrator(GOALS, run.records)
    assert again.opening(run.records).startswith("phase 2 of 3: learning")


def test_all_phases_end_once() -> None:
    run = Run()
    for phase in ("eval_base", "eval_base"):
        run.add(phase)
    run.add("online", minutes=1.0)
    run.add("eval_rlt")
    assert run.add("eval_rlt")[1:] == [
        "phase 3 of 3 done: evaluation of the policy: 100 % in 100 steps",
        "all phases are done",
    ]


@given(
    success=st.booleans(),
    human=st.floats(0, 1),
    steps=st.integers(0, 500),
    end=st.sampled_from(["success", "x", "no_approach"]),
)
def test_help_is_never_called_a_success(success: bool, human: float, steps: int, end: str) -> None:
    record = {"success": success, "human_share": human, "steps": steps, "end": end}
    assert not (human and outcome(record).startswith("success"))


@given(st.floats(0, 1e6))
def test_durations_have_a_unit(seconds: float) -> None:
    assert duration(seconds).endswith((" s", " min"))
