"""``rlt-ros report``: HTML page of a run, or of several seeds."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from rlt_ros.cli.options import SubParsers, add_command


def add_parser(subparsers: SubParsers) -> None:
    """Add ``report`` to the command line."""
    parser = add_command(
        subparsers,
        "report",
        summary="write the HTML page of a run",
        description="""\
Writes RUN/report.html: headline table with 95 % intervals, learning curve with the frozen
VLA and the demonstrator, histogram of steps, learner curves, videos, and every setting. The
page is one file without external links, so it can be mailed.

With several runs (the seeds of one experiment) each has its page, and --out has the page of all
of them: the mean curve and the intervals over seeds.""",
        examples="""\
  rlt-ros report runs/charger
  rlt-ros report runs/charger-0 runs/charger-1 runs/charger-2 --out runs/charger.html""",
    )
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="folder of a finished run")
    parser.add_argument(
        "--out",
        type=Path,
        metavar="FILE",
        help="page of several runs (default: seeds.html next to the first)",
    )
    parser.set_defaults(run=run, present=present)


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Write the pages and return their paths."""
    from rlt_ros.report.report import write_report
    from rlt_ros.report.seeds import write_seeds_report

    result: dict[str, Any] = {"reports": [write_report(run_dir) for run_dir in args.runs]}
    if len(args.runs) > 1:
        result["seeds_report"] = write_seeds_report(args.runs, args.out)
    return result


def present(result: dict[str, Any]) -> None:
    """Print the path of each page."""
    for path in [*result["reports"], *([result["seeds_report"]] if "seeds_report" in result else [])]:
        print(path)
