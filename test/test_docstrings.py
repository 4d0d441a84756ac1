"""Docstrings begin with a noun of the field or an imperative verb."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

FORBIDDEN_FIRST_WORDS = frozenset(
    [
        "what",
        "who",
        "whose",
        "whom",
        "those",
        "whether",
        "how",
        "where",
        "which",
        "when",
        "it",
        "as",
        "nobody",
        "somebody",
        "whoever",
    ]
)
_RELATIVE_NOUN = re.compile(
    r"(?:^|[.:;,(] |\b(?:and|or|of|to|for|with|by|from) )(?:what|who|whoever) (?:is|was|has)\b", re.I
)
_FIRST_WORD = re.compile(r"[\W\d_]*([A-Za-z]+)")


def violations(source: str) -> list[str]:
    """Line and first line of each docstring in ``source`` that breaks the rule."""
    return [
        f"{line}: {text.splitlines()[0]}"
        for line, text in docstrings(source)
        if (word := _FIRST_WORD.match(text)) is None
        or word[1].lower() in FORBIDDEN_FIRST_WORDS
        or _RELATIVE_NOUN.search(text)
    ]


def docstrings(source: str) -> Iterator[tuple[int, str]]:
    """Line and text of all docstrings, also of attributes and constants."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if not isinstance(body, list):
            continue
        for index, statement in enumerate(body):
            documents = index == 0 and isinstance(
                node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
            )
            after_assignment = index > 0 and isinstance(body[index - 1], ast.Assign | ast.AnnAssign)
            if (
                (documents or after_assignment)
                and isinstance(statement, ast.Expr)
                and isinstance(statement.value, ast.Constant)
                and isinstance(statement.value.value, str)
            ):
                yield statement.lineno, statement.value.value


MODULES = sorted(
    path for top in ("rlt_ros", "launch", "tools", "test") for path in (ROOT / top).rglob("*.py")
)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_docstrings_begin_with_a_noun_or_a_verb(path: Path) -> None:
    assert violations(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("text", "allowed"),
    [
        ("Rows of the replay.", True),
        ("Return the rows.", True),
        ("``rows`` of the replay.", True),
        ("What the replay holds.", False),
        ("Whose the rows are.", False),
        ("Rows and what is owed for them.", False),
    ],
)
def test_the_rule(text: str, allowed: bool) -> None:
    assert (violations(f'"""{text}"""') == []) is allowed
