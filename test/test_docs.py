from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]


def test_generated_reference_is_what_the_code_declares() -> None:
    spec = importlib.util.spec_from_file_location("make_reference", ROOT / "tools/make_reference.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for name, text in module.pages().items():
        written = (ROOT / "docs/reference" / name).read_text(encoding="utf-8")
        assert written == text, f"docs/reference/{name} is old; run `make reference`"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    targets = [
        target.split("#")[0]
        for target in re.findall(r"\]\(([^)\s]+)\)|src=\"([^\"]+)\"", text)
        for target in target
        if target
    ]
    missing = [
        t
        for t in targets
        if t and not t.startswith(("http://", "https://")) and not (page.parent / t).exists()
    ]
    assert missing == []


def test_every_page_is_reached_from_the_index() -> None:
    index = (ROOT / "docs/README.md").read_text() + (ROOT / "docs/decisions/README.md").read_text()
    pages = {page.name for page in ROOT.glob("docs/*/*.md")} - {"README.md"}
    assert {name for name in pages if f"{name})" not in index} == set()
