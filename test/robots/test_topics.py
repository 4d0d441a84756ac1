"""One topic under two keys of a profile, in any spelling."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlt_ros.robots.interface import check_distinct, check_topic
from rlt_ros.store.parameters import ConfigError

_names = st.lists(st.from_regex(r"[a-z][a-z0-9_]{0,5}", fullmatch=True), min_size=1, max_size=3)


@given(_names, st.integers(0, 2), st.integers(0, 2), st.integers(1, 3), st.integers(0, 2))
def test_every_spelling_of_a_topic_is_recognised(
    parts: list[str], first: int, other: int, between: int, last: int
) -> None:
    one = "/" * first + "/".join(parts)
    two = "/" * other + ("/" * between).join(parts) + "/" * last
    with pytest.raises(ConfigError, match="which is the same topic") as caught:
        check_distinct({"command.topic": one, "joint_states": two})
    assert "`command.topic`" in str(caught.value)
    assert "`joint_states`" in str(caught.value)


@given(_names, _names)
def test_different_topics_pass(one: list[str], two: list[str]) -> None:
    if one != two:
        check_distinct({"a": "/".join(one), "b": "/" + "/".join(two)})


@given(st.text(max_size=12))
def test_a_checked_topic_has_one_spelling_but_for_its_first_slash(text: str) -> None:
    try:
        check_topic("topic", text)
    except ConfigError:
        return
    assert text.isascii()
    assert "//" not in text
    assert not text.endswith("/")
    assert not text.startswith("~")
