from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlt_ros.learning.pacing import UpdateDebt
from rlt_ros.rlt.config import RLTConfig
from rlt_ros.store.parameters import ConfigError


def test_each_row_adds_the_update_to_data_ratio() -> None:
    debt = UpdateDebt(utd=5.0)
    debt.add_episode(success=True)
    debt.add_rows(3)
    assert debt.due() == 15


def test_a_paid_debt_leaves_nothing_to_do() -> None:
    debt = UpdateDebt(utd=0.5)
    debt.add_episode(success=True)
    debt.add_rows(5)
    debt.pay(debt.due())
    assert debt.due() == 0
    debt.add_rows(1)  # the half update that was left over counts
    assert debt.due() == 1


def test_paying_more_than_is_owed_is_an_error() -> None:
    debt = UpdateDebt(utd=1.0)
    debt.add_episode(success=True)
    debt.add_rows(2)
    with pytest.raises(ValueError, match="3 updates were paid where 2 were owed"):
        debt.pay(3)


def test_the_rest_of_a_large_debt_waits() -> None:
    debt = UpdateDebt(utd=1.0, max_per_cycle=10, multiple=2)
    debt.add_episode(success=True)
    debt.add_rows(25)
    cycles = []
    while due := debt.due():
        debt.pay(due)
        cycles.append(due)
    assert cycles == [10, 10, 4]
    assert debt.owed == 1


def test_the_gate_waits_for_episodes_rows_successes_and_failures() -> None:
    debt = UpdateDebt(utd=1.0, opening=100, min_episodes=3, min_rows=10, min_successes=1, min_failures=1)
    assert debt.waiting_for == "3 more episodes, 10 more rows, 1 more successes, 1 more failures"
    debt.add_rows(10)
    debt.add_episode(success=True)
    debt.add_episode(success=True)
    assert debt.waiting_for == "1 more episodes, 1 more failures"
    assert debt.due() == 0
    debt.add_episode(success=False)
    assert debt.waiting_for == ""
    assert debt.due() == 100  # the value warm-up, and nothing for the rows before
    debt.add_rows(1)
    assert debt.owed == 101


def test_the_account_survives_a_checkpoint() -> None:
    config = RLTConfig(warmup_episodes=1, min_rows=1, min_failures=0)
    debt = UpdateDebt.from_config(config)
    debt.add_rows(7)
    debt.add_episode(success=True)
    debt.add_rows(1)
    debt.pay(1000)
    resumed = UpdateDebt.from_config(config)
    resumed.load_state(debt.state())
    assert resumed == debt


def test_settings_that_could_never_be_paid_are_refused() -> None:
    with pytest.raises(
        ConfigError, match="`max_updates_per_cycle` is 1; it must be at least `critic_updates`, 2"
    ):
        UpdateDebt(utd=1.0, max_per_cycle=1, multiple=2)
    with pytest.raises(ConfigError, match="`utd` is nan"):
        UpdateDebt(utd=float("nan"))


EVENTS = st.lists(st.one_of(st.integers(0, 50), st.booleans(), st.just("learn")), max_size=60)


@given(EVENTS, st.floats(0, 8), st.integers(1, 3))
def test_updates_never_outrun_the_data(events: list[object], utd: float, multiple: int) -> None:
    debt = UpdateDebt(
        utd=utd, opening=20, max_per_cycle=30, multiple=multiple, min_rows=5, min_successes=1, min_failures=1
    )
    for event in events:
        if event == "learn":
            due = debt.due()
            assert due % multiple == 0
            assert due <= 30
            debt.pay(due)
        elif isinstance(event, bool):
            debt.add_episode(success=event)
        elif isinstance(event, int):
            debt.add_rows(event)
        assert debt.owed >= 0
        assert debt.paid <= 20 + utd * debt.rows + 1e-6
        assert debt.paid == 0 or (debt.successes and debt.failures and debt.rows >= 5)
