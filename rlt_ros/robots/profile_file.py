"""Files of robot profiles, and inheritance by `extends`. Needs only PyYAML."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rlt_ros.share import require_yaml_file, shipped, yaml_file
from rlt_ros.store.parameters import ConfigError, read_yaml


def read_profile_values(name_or_path: str | Path) -> dict[str, Any]:
    """Unchecked values of a profile, shipped or of a path.

    Raises:
        ConfigError: the profile or one that it extends does not exist, or cannot be read.
    """
    return extended(require_yaml_file("robots", "robot", name_or_path))


def extended(path: Path, seen: tuple[Path, ...] = ()) -> dict[str, Any]:
    """Values of a file, merged into the profile that it ``extends``; sections are merged, other values replaced."""
    mapping = read_yaml(path)
    if "extends" not in mapping:
        return mapping
    base = mapping.pop("extends")
    base_path = yaml_file("robots", path.parent / base if str(base).endswith((".yaml", ".yml")) else base)
    if base_path is None or not base_path.is_file():
        raise ConfigError(
            f"{path}: `extends` is {base}, which is not a profile; there are {', '.join(shipped('robots'))}"
        )
    if base_path.resolve() in (*seen, path.resolve()):
        raise ConfigError(f"{path}: `extends` is {base}, which extends this profile")
    values = extended(base_path, (*seen, path.resolve()))
    joined = {
        key: {**values[key], **own}
        for key, own in mapping.items()
        if isinstance(own, dict) and isinstance(values.get(key), dict)
    }
    return {**values, **mapping, **joined}
