"""Synthetic data sets of every layout, written once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from rlt_ros.bench import synthetic_data
from rlt_ros.bench.synthetic_data import LAYOUTS, SyntheticSpec

SPEC = SyntheticSpec()


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Layout → an unpacked data set; not to be changed."""
    home = tmp_path_factory.mktemp("layouts")
    for layout in LAYOUTS:
        synthetic_data.write(home / layout, layout, SPEC)
    return {layout: home / layout for layout in LAYOUTS}


@pytest.fixture
def copied(folders: dict[str, Path], tmp_path: Path) -> Callable[[str], Path]:
    """A data set of a layout that may be changed."""
    import shutil

    def copy(layout: str) -> Path:
        return Path(shutil.copytree(folders[layout], tmp_path / f"copy-{layout}"))

    return copy
