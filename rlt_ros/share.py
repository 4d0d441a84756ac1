"""Where the files are that are no Python: messages, robot profiles, parameter files, views."""

from __future__ import annotations

from pathlib import Path

PACKAGE = "rlt_ros"


def share_folder(name: str) -> Path:
    """Folder ``name``: at the root of a checkout, under ``share/rlt_ros`` of a pip or colcon installation.

    Raises:
        FileNotFoundError: the installation is incomplete.
    """
    package = Path(__file__).resolve().parent
    if (package.parent / "package.xml").exists():
        return package.parent / name
    for parent in package.parents:
        folder = parent / "share" / PACKAGE / name
        if folder.is_dir():
            return folder
    raise FileNotFoundError(f"no share/{PACKAGE}/{name} above {package}; install {PACKAGE} again")
