"""The layers of `docs/explanation/architecture.md`: imports run one way."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "rlt_ros"

LAYERS = (
    {"store"},
    {"rlt", "robots", "perception"},
    {"replay", "vla"},
    {"learning"},
    {"acting", "episodes", "teleop", "data", "sim", "report"},
    {"bags", "serving", "bringup"},
    {"experiments", "ros"},
    {"nodes", "bench"},
    {"cli"},
)
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}
SIBLINGS = {("sim", "data")}
MIDDLEWARE_USERS = {"ros", "nodes", "bench", "bringup", "cli", "middleware"}
CORE_LIBRARIES = {"torch", "numpy", "safetensors", "yaml"}


def imported_modules(source: str, module: str, *, is_package: bool) -> Iterator[str]:
    """Absolute names of what ``source`` imports, anywhere in the file, relative imports resolved."""
    package = module.split(".") if is_package else module.split(".")[:-1]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*start, *([node.module] if node.module else [])])
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)


def violations(source: str, module: str, *, is_package: bool = False) -> list[str]:
    """Imports of ``source`` that break the rules, one sentence each."""
    here = module.split(".")[1] if "." in module else ""
    wrong = []
    for name in imported_modules(source, module, is_package=is_package):
        parts = name.split(".")
        if parts[0] != "rlt_ros":
            if here == "rlt" and parts[0] not in CORE_LIBRARIES | sys.stdlib_module_names:
                wrong.append(f"{module} imports {name}; rlt/ takes {', '.join(sorted(CORE_LIBRARIES))} only")
            if parts[0] in {"pickle", "dill", "cloudpickle"}:
                wrong.append(f"{module} imports {name}; nothing here unpickles")
            continue
        there = parts[1] if len(parts) > 1 else ""
        if there == "middleware" and here not in MIDDLEWARE_USERS:
            wrong.append(f"{module} imports {name}; only nodes know the middleware")
        if here not in LEVEL or there not in LEVEL or here == there or (here, there) in SIBLINGS:
            continue
        if LEVEL[there] >= LEVEL[here]:
            wrong.append(f"{module} imports {name}; {there} is not below {here}")
    return wrong


def module_name(path: Path) -> tuple[str, bool]:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    is_package = parts[-1] == "__init__"
    return ".".join(parts[:-1] if is_package else parts), is_package


@pytest.mark.parametrize(
    "path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE))
)
def test_imports_run_one_way(path: Path) -> None:
    name, is_package = module_name(path)
    assert violations(path.read_text(encoding="utf-8"), name, is_package=is_package) == []


def test_every_folder_has_a_place_in_the_layers() -> None:
    folders = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert folders <= LEVEL.keys() | {"middleware"}


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("rlt_ros.rlt.learner", "import mujoco"),
        ("rlt_ros.rlt.learner", "from rlt_ros.vla import protocol"),
        ("rlt_ros.rlt.learner", "from ..sim import tasks"),
        ("rlt_ros.rlt.learner", "def late():\n    import rlt_ros.report.report"),
        ("rlt_ros.robots.kinematics", "from rlt_ros import sim"),
        ("rlt_ros.perception.sync", "from rlt_ros.vla import protocol"),
        ("rlt_ros.experiments.trainer", "from rlt_ros.cli import main"),
        ("rlt_ros.sim.workcell", "from rlt_ros.middleware import Node"),
        ("rlt_ros.data.cache", "import pickle"),
    ],
)
def test_the_rules_notice(module: str, source: str) -> None:
    assert violations(source, module)


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("rlt_ros.rlt.learner", "import math, torch\nfrom . import batch\nfrom rlt_ros.rlt.config import X"),
        (
            "rlt_ros.sim.workcell",
            "import mujoco\nfrom ..robots import kinematics\nfrom rlt_ros.data import x",
        ),
        ("rlt_ros.nodes.learner", "from rlt_ros.middleware import Node\nfrom rlt_ros.rlt import learner"),
    ],
)
def test_the_rules_allow(module: str, source: str) -> None:
    assert violations(source, module) == []
