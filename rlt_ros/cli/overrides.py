"""Reads ``--config FILE`` and ``--set SECTION.KEY=VALUE`` into one mapping of sections.

Nothing is validated here: each section's dataclass does that (`rlt_ros.rlt.parameters.build`), with a
message that names the key and what is allowed.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml


class _Loader(yaml.SafeLoader):
    """Safe YAML that reads ``3e-4`` as a number, as ROS does; YAML 1.1 would make it text."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"), list("-+.0123456789")
)


class OverrideError(ValueError):
    """A ``--set`` or ``--config`` that cannot be read; the message says what was given and expected."""


def read_overrides(config: Path | None, assignments: Sequence[str]) -> dict[str, dict[str, Any]]:
    """``{section: {key: value}}`` from a ROS parameter file and then, replacing it, from each assignment."""
    sections = {} if config is None else _read_file(config)
    for assignment in assignments:
        section, key, value = _parse(assignment)
        sections.setdefault(section, {})[key] = value
    return sections


def _read_file(path: Path) -> dict[str, dict[str, Any]]:
    try:
        document = yaml.load(path.read_text(encoding="utf-8"), _Loader)
        parameters = document["/**"]["ros__parameters"]
        return {section: dict(values) for section, values in parameters.items()}
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise OverrideError(f"--config {path}: not readable as YAML: {error}") from error
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise OverrideError(
            f"--config {path}: not a ROS parameter file; "
            "expected `/**:` → `ros__parameters:` → section → key: value"
        ) from error


def _parse(assignment: str) -> tuple[str, str, Any]:
    name, equals, text = assignment.partition("=")
    section, dot, key = name.strip().partition(".")
    if not (equals and dot and section and key):
        raise OverrideError(f"--set {assignment!r}: expected SECTION.KEY=VALUE, e.g. rlt.beta=0.05")
    try:
        return section, key, yaml.load(text, _Loader)
    except yaml.YAMLError as error:
        raise OverrideError(f"--set {assignment!r}: {text!r} is not a YAML value") from error
