"""Paths of data files: messages, robot profiles, parameter files, views."""

from __future__ import annotations

from pathlib import Path

from rlt_ros.store.parameters import ConfigError, did_you_mean

PACKAGE = "rlt_ros"


def shipped(folder: str) -> list[str]:
    """Names of the YAML files in ``config/<folder>``."""
    return sorted(path.stem for path in (share_folder("config") / folder).glob("*.yaml"))


def yaml_file(folder: str, name_or_path: str | Path) -> Path | None:
    """File with a name in ``config/<folder>``, or None; or the given path of a YAML file."""
    path = Path(name_or_path).expanduser()
    if path.suffix in (".yaml", ".yml"):
        return path
    path = share_folder("config") / folder / f"{name_or_path}.yaml"
    return path if path.is_file() else None


def require_yaml_file(folder: str, kind: str, name_or_path: str | Path) -> Path:
    """File with a name in ``config/<folder>``, or with a path.

    Raises:
        ConfigError: the name is unknown; the message contains the closest one.
    """
    path = yaml_file(folder, name_or_path)
    if path is None:
        known = shipped(folder)
        hint = did_you_mean(str(name_or_path), known)
        raise ConfigError(
            f"{kind} `{name_or_path}` is unknown; {hint}known: {', '.join(known)}, or the path of a YAML file"
        )
    return path


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
