"""Tests with lerobot installed; `make test-lerobot` creates such an environment."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

# Helpers that these tests share with those of the other back ends.
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "vla"))


def _declare_operators() -> None:
    """torchvision built for another torch lacks its compiled operators, and then cannot be imported at all.

    Nobody here calls them: SmolVLA resizes with torch alone.
    """
    import torch

    library = torch.library.Library("torchvision", "DEF")
    for name in ("nms", "qnms"):
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    _KEPT.append(library)


# Operators are gone with the library that declares them.
_KEPT: list[object] = []


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip this folder, with the reason, where lerobot is not installed."""
    if importlib.util.find_spec("lerobot") is not None:
        return
    reason = "lerobot is not installed here; `make test-lerobot` runs this in an environment of its own"
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.skip(reason=reason))


if importlib.util.find_spec("lerobot") is not None:
    try:
        import torchvision  # noqa: F401
    except (ImportError, RuntimeError):
        for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
            del sys.modules[name]
        _declare_operators()
