"""Options of several sub-commands."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TypeAlias

SubParsers: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def add_command(
    subparsers: SubParsers, name: str, *, summary: str, description: str, examples: str
) -> argparse.ArgumentParser:
    """Add a sub-command with ``examples`` at the end of its help."""
    return subparsers.add_parser(
        name,
        help=summary,
        description=description,
        epilog=f"examples:\n{examples}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def add_output_options(parser: argparse.ArgumentParser) -> None:
    """Add ``--json`` and ``--debug``, options of every sub-command."""
    group = parser.add_argument_group("output")
    group.add_argument("--json", action="store_true", help="print the result as one JSON object, last")
    group.add_argument("--debug", action="store_true", help="print the traceback of an error")


def positive_int(text: str) -> int:
    """Whole number above 0, for ``type=``."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not above 0")
    return value


def positive_float(text: str) -> float:
    """Finite number above 0, for ``type=``."""
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not a finite number above 0")
    return value


def add_namespace(parser: argparse.ArgumentParser) -> None:
    """Add ``--namespace NAME``, of the robot."""
    parser.add_argument(
        "--namespace", default="", metavar="NAME", help="namespace of the robot (default: none)"
    )


def add_timeout(parser: argparse.ArgumentParser, event: str) -> None:
    """Add ``--timeout S``, longest wait for ``event``."""
    parser.add_argument(
        "--timeout",
        type=positive_float,
        default=10.0,
        metavar="S",
        help=f"longest wait for {event} (default: %(default)g)",
    )


def add_config_options(parser: argparse.ArgumentParser) -> None:
    """Add ``--config FILE`` and ``--set SECTION.KEY=VALUE``, read by `rlt_ros.cli.overrides`."""
    group = parser.add_argument_group("configuration")
    group.add_argument(
        "--config",
        type=Path,
        metavar="FILE",
        help="ROS parameter file (YAML) with values that replace the defaults",
    )
    group.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="SECTION.KEY=VALUE",
        help="replace one value, e.g. --set rlt.beta=0.05; may be repeated, and replaces values of --config",
    )
