"""Resolve the documented installations for every supported Python, without installing anything.

``make install`` uses ``constraints.txt``; users of ROS 2 run the ``pip install`` line of ``docs/how-to/ros2.md`` on the
Python of their Ubuntu. uv evaluates markers for the requested Python; ``pip install --dry-run --python-version``
evaluates them for the Python that runs it.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
ROS_PAGE = ROOT / "docs" / "how-to" / "ros2.md"

PYTHONS = ("3.10", "3.11", "3.12", "3.13")
"""Python versions of ``pyproject.toml``."""
ROS_PYTHONS = ("3.10", "3.12")
"""Python versions of Ubuntu 22.04 (Humble) and 24.04 (Jazzy), whose messages are compiled for NumPy 1."""

UNREACHABLE = 3
"""Exit status if no package index is reachable and nothing was checked."""

# glibc 2.35 of Ubuntu 22.04, the oldest supported system
_PLATFORM = "x86_64-manylinux_2_35"
_PIP_LINE = re.compile(
    r"^pip install '\./rlt_ros\[(?P<extras>[^]]*)\]' '(?P<limit>numpy[^']*)'", re.MULTILINE
)
_NO_INDEX = ("Failed to fetch", "error sending request", "dns error", "Connection refused", "timed out")


class IndexUnreachable(Exception):
    """Error for an unreachable package index."""


@dataclass(frozen=True)
class Case:
    """One command of the documentation on one Python.

    Attributes:
        name: label in the output.
        python: version, such as ``3.10``.
        extras: of ``pyproject.toml``.
        requirements: in addition to those of the package.
        constraints: file that pins versions; None for none.
    """

    name: str
    python: str
    extras: tuple[str, ...]
    requirements: tuple[str, ...] = ()
    constraints: Path | None = None


def cases(page: str) -> list[Case]:
    """Cases to resolve; ``page`` is the text of ``docs/how-to/ros2.md``.

    Raises:
        ValueError: the page has no ``pip install`` line of the expected form.
    """
    line = _PIP_LINE.search(page)
    if line is None:
        raise ValueError(f"{ROS_PAGE} has no line `pip install './rlt_ros[EXTRAS]' 'numpy…'`")
    extras = tuple(line["extras"].split(","))
    constraints = ROOT / "constraints.txt"
    return [
        *(Case("make install", python, ("all",), constraints=constraints) for python in PYTHONS),
        *(Case("ROS 2 page", python, extras, (line["limit"],)) for python in ROS_PYTHONS),
    ]


def resolve(case: Case) -> str:
    """Reason for a case without a solution; empty if it has one.

    Raises:
        IndexUnreachable: no package index is reachable.
    """
    command = [sys.executable, "-m", "uv", "pip", "compile", "--quiet", "--no-header", "--no-annotate"]
    command += ["--no-build", "--python-version", case.python, "--python-platform", _PLATFORM]
    command += [word for extra in case.extras for word in ("--extra", extra)]
    if case.constraints:
        command += ["--constraint", str(case.constraints)]
    command += [str(ROOT / "pyproject.toml")]
    command += ["-"] if case.requirements else []
    text = "\n".join(case.requirements)
    result = subprocess.run(command, input=text, capture_output=True, text=True, cwd=ROOT)
    if result.returncode == 0:
        return ""
    reason = result.stderr.strip()
    if any(sign in reason for sign in _NO_INDEX):
        raise IndexUnreachable(reason)
    return reason


def main(arguments: Sequence[str] | None = None) -> int:
    """Resolve all cases, or those of the Python versions in ``arguments``; print one line each.

    Returns:
        0 if all have a solution, 1 if one has none, 3 if no package index is reachable.
    """
    requested = list(sys.argv[1:] if arguments is None else arguments)
    failed = 0
    for case in cases(ROS_PAGE.read_text(encoding="utf-8")):
        if requested and case.python not in requested:
            continue
        try:
            reason = resolve(case)
        except IndexUnreachable as error:
            print(f"no package index is reachable, nothing was checked: {error}", file=sys.stderr)
            return UNREACHABLE
        failed += bool(reason)
        print(f"{case.name}, Python {case.python}: {reason or 'resolves'}", flush=True)
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
