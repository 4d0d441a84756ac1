"""The documented installations have a solution on every Python that they are for."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
spec = importlib.util.spec_from_file_location("check_constraints", ROOT / "tools" / "check_constraints.py")
assert spec is not None and spec.loader is not None
check_constraints = importlib.util.module_from_spec(spec)
sys.modules[spec.name] = check_constraints
spec.loader.exec_module(check_constraints)

PAGE = check_constraints.ROS_PAGE.read_text(encoding="utf-8")
CASES = check_constraints.cases(PAGE)


def test_both_installations_are_checked_for_every_python_that_they_are_for() -> None:
    assert [case.python for case in CASES if case.name == "make install"] == ["3.10", "3.11", "3.12", "3.13"]
    assert [case.python for case in CASES if case.name == "ROS 2 page"] == ["3.10", "3.12"]


def test_the_command_of_the_page_is_the_one_that_is_checked() -> None:
    (case, *_) = check_constraints.cases("```\npip install './rlt_ros[sim,dds]' 'numpy<3'\n```")[4:]
    assert (case.extras, case.requirements) == (("sim", "dds"), ("numpy<3",))
    with pytest.raises(ValueError, match="no line"):
        check_constraints.cases("pip install rlt_ros")


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.name} {case.python}")
def test_a_documented_installation_has_a_solution(case: check_constraints.Case) -> None:
    pytest.importorskip("uv")
    try:
        assert check_constraints.resolve(case) == ""
    except check_constraints.IndexUnreachable as error:
        pytest.skip(f"no package index: {error}")
