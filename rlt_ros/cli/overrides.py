"""Reader of ``--config FILE`` and ``--set SECTION.KEY=VALUE`` into one mapping of sections.

The dataclass of each section validates the values (`rlt_ros.store.parameters.build`), with a message that names key and
allowed values.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rlt_ros.store.documents import DocumentError, parse_yaml, read_yaml_file


class OverrideError(ValueError):
    """Unreadable ``--set`` or ``--config``; the message has the given and the expected text."""


def read_overrides(config: Path | None, assignments: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Read ``{section: {key: value}}`` from a ROS parameter file, and then from each assignment."""
    sections = {} if config is None else _read_file(config)
    for assignment in assignments:
        section, key, value = _parse(assignment)
        sections.setdefault(section, {})[key] = value
    return sections


def _read_file(path: Path) -> dict[str, dict[str, Any]]:
    try:
        document = read_yaml_file(path)
        parameters = document["/**"]["ros__parameters"]
        return {section: dict(values) for section, values in parameters.items()}
    except DocumentError as error:
        raise OverrideError(f"--config {error}") from error
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
        return section, key, parse_yaml(text, origin=f"--set {assignment}")
    except DocumentError as error:
        raise OverrideError(str(error)) from error
