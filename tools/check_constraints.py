"""Resolves what the documentation installs, for every Python that it names, without installing anything.

``constraints.txt`` is what ``make install`` takes; the line of ``docs/how-to/ros2.md`` is what users of ROS 2 type, on
the Python of their Ubuntu. uv resolves both: unlike ``pip install --dry-run --python-version``, which evaluates the
markers of requirements for the Python that runs it, uv evaluates them for the Python asked for.
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
"""Pythons of ``pyproject.toml``."""
ROS_PYTHONS = ("3.10", "3.12")
"""Pythons of Ubuntu 22.04 with Humble and of Ubuntu 24.04 with Jazzy, whose messages are compiled for NumPy 1."""

UNREACHABLE = 3
"""Exit status where no package index answers, so that nothing was checked."""

_PLATFORM = "x86_64-manylinux_2_35"  # glibc 2.35 of Ubuntu 22.04, the oldest system that is supported
_PIP_LINE = re.compile(
    r"^pip install '\./rlt_ros\[(?P<extras>[^]]*)\]' '(?P<limit>numpy[^']*)'", re.MULTILINE
)
_NO_INDEX = ("Failed to fetch", "error sending request", "dns error", "Connection refused", "timed out")


class IndexUnreachable(Exception):
    """No package index answered."""


@dataclass(frozen=True)
class Case:
    """One command of the documentation on one Python.

    Attributes:
        name: for people.
        python: version, such as ``3.10``.
        extras: of ``pyproject.toml``.
        requirements: beside those of the package.
        constraints: file that pins versions; None for none.
    """

    name: str
    python: str
    extras: tuple[str, ...]
    requirements: tuple[str, ...] = ()
    constraints: Path | None = None


def cases(page: str) -> list[Case]:
    """Every case to resolve; ``page`` is the text of ``docs/how-to/ros2.md``.

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
    """Reason why a case has no solution; empty where it has one.

    Raises:
        IndexUnreachable: no package index answered.
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
    """Resolve every case, or those of the Pythons in ``arguments``; print one line each.

    Returns:
        0 when all have a solution, 1 when one has none, 3 when no package index answers.
    """
    asked = list(sys.argv[1:] if arguments is None else arguments)
    failed = 0
    for case in cases(ROS_PAGE.read_text(encoding="utf-8")):
        if asked and case.python not in asked:
            continue
        try:
            reason = resolve(case)
        except IndexUnreachable as error:
            print(f"no package index answers, so nothing was checked: {error}", file=sys.stderr)
            return UNREACHABLE
        failed += bool(reason)
        print(f"{case.name}, Python {case.python}: {reason or 'resolves'}", flush=True)
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
