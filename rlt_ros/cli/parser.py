"""Command line of ``rlt-ros``: every sub-command with its help."""

from __future__ import annotations

import argparse
import re
import sys
from typing import NoReturn

import rlt_ros
from rlt_ros.cli import (
    bag,
    bench,
    completion,
    data,
    echo,
    evaluate,
    event,
    graph,
    launch,
    monitor,
    pretrain,
    replay,
    report,
    robot,
    serve,
    train,
    vla,
)
from rlt_ros.cli.options import add_output_options
from rlt_ros.cli.output import EXIT_ERROR
from rlt_ros.store.parameters import did_you_mean

_CHOICE = re.compile(r"invalid choice: '(?P<given>[^']*)' \(choose from (?P<allowed>.*)\)$")

_DESCRIPTION = """\
RL Token (RLT): online reinforcement learning that makes a robot arm, driven by a frozen
vision-language-action model, precise and fast at the last millimetre."""

_EPILOG = """\
start here:
  rlt-ros train --task charger --out runs/charger      learn in simulation, about 20 minutes on 2 cores
  rlt-ros report runs/charger                          one HTML page: curves, tables, videos
  rlt-ros eval runs/charger --episodes 100             evaluate the policy again

`rlt-ros COMMAND --help` explains a command with examples. Every command has --json, which
prints the result as one JSON object on the last line of the standard output."""


class Parser(argparse.ArgumentParser):
    """Parser with errors of one line and the closest allowed word."""

    def error(self, message: str) -> NoReturn:
        """Print the error and the command for help; exit with status 2."""
        if found := _CHOICE.search(message):
            hint = did_you_mean(found["given"], re.findall(r"[\w-]+", found["allowed"]))
            message = (
                f"{message[: found.start()]}`{found['given']}` is unknown; {hint}known: {found['allowed']}"
            )
        print(f"error: {message}; `{self.prog} --help` explains", file=sys.stderr)
        raise SystemExit(EXIT_ERROR)


def build_parser() -> argparse.ArgumentParser:
    """Parser of the complete command line, with help texts."""
    parser = Parser(
        prog="rlt-ros",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"rlt-ros {rlt_ros.__version__}")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands")
    for module in (
        train,
        evaluate,
        report,
        replay,
        pretrain,
        data,
        bag,
        bench,
        launch,
        monitor,
        graph,
        echo,
        event,
        robot,
        serve,
        vla,
        completion,
    ):
        module.add_parser(subparsers)
    for command in subparsers.choices.values():
        add_output_options(command)
    return parser
