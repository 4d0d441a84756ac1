"""Version, workflows and templates agree with the code."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
import yaml

import rlt_ros

ROOT = Path(__file__).resolve().parents[1]
WORKFLOW = ROOT / ".github" / "workflows" / "ci.yml"


def test_version_is_the_same_everywhere() -> None:
    assert ElementTree.parse(ROOT / "package.xml").findtext("version") == rlt_ros.__version__
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"] == rlt_ros.__version__
    newest = re.search(r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text(), flags=re.MULTILINE)
    assert newest is not None
    assert newest.group(1) == rlt_ros.__version__
    assert 'version = { attr = "rlt_ros.__version__" }' in (ROOT / "pyproject.toml").read_text()


def test_workflow_calls_targets_of_the_makefile() -> None:
    called = {
        word
        for line in re.findall(r"\bmake ([a-z -]+)$", WORKFLOW.read_text(), re.M)
        for word in line.split()
    }
    declared = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))
    assert {"lint", "types", "test"} <= called <= declared


def test_workflow_covers_the_supported_pythons() -> None:
    tested = yaml.safe_load(WORKFLOW.read_text())["jobs"]["test"]["strategy"]["matrix"]["python"]
    classified = re.findall(r"Python :: (3\.\d+)", (ROOT / "pyproject.toml").read_text())
    assert tested == classified


def test_workflow_installs_packages_that_the_system_check_names() -> None:
    (line,) = [line for line in WORKFLOW.read_text().splitlines() if "apt-get install -y lib" in line]
    check = (ROOT / "tools" / "check_system.sh").read_text()
    packages = set(re.search(r'^PACKAGES="(.+)"', check, re.M).group(1).split())  # type: ignore[union-attr]
    named = set(line.partition(" -y ")[2].split())
    assert {name for name in packages if name.startswith("lib")} == named


@pytest.mark.parametrize("path", sorted((ROOT / ".github").glob("**/*.yml")), ids=lambda path: path.name)
def test_github_files_are_yaml(path: Path) -> None:
    assert isinstance(yaml.safe_load(path.read_text(encoding="utf-8")), dict)
