"""``rlt-ros``: parses the command line, runs one sub-command and turns what goes wrong into one clear line.

A sub-command is a module with ``add_parser(subparsers)`` that sets two functions: ``run(args) -> dict``
does the work and returns what ``--json`` prints, ``present(result)`` shows the same to a person. Where a result can be
bad or empty, ``status(result) -> int`` gives the exit status. Heavy imports (torch, MuJoCo) happen inside ``run``, so
that ``rlt-ros --help`` answers at once.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

import rlt_ros
from rlt_ros.cli import (
    bag,
    bench,
    data,
    echo,
    evaluate,
    event,
    graph,
    launch,
    monitor,
    pretrain,
    report,
    robot,
    serve,
    train,
    vla,
)
from rlt_ros.cli.options import add_output_options
from rlt_ros.cli.output import print_json

EXIT_ERROR = 2
EXIT_INTERRUPTED = 130  # 128 + SIGINT, as shells report it

_EXTRAS = {
    "accelerate": "train",
    "av": "sim",
    "backports": "dds",
    "cyclonedds": "dds",
    "lerobot": "lerobot",
    "lz4": "dds",
    "msgpack": "remote",
    "h5py": "data",
    "modelscope": "data",
    "mujoco": "sim",
    "pinocchio": "sim",
    "pyarrow": "data",
    "rosbags": "dds",
    "stable_baselines3": "bench",
    "tensorboard": "train",
    "tensordict": "bench",
    "torchrl": "bench",
    "transformers": "vla",
    "websockets": "remote",
}
"""Module → the extra of this package that brings it."""

_DESCRIPTION = """\
RL Token (RLT): online reinforcement learning that makes a robot arm, driven by a frozen
vision-language-action model, precise and fast at the last millimetre."""

_EPILOG = """\
start here:
  rlt-ros train --task charger --out runs/charger      learn in simulation, about 20 minutes on 2 cores
  rlt-ros report runs/charger                          one HTML page: curves, tables, videos
  rlt-ros eval runs/charger --episodes 100             measure what was learned again

`rlt-ros COMMAND --help` explains a command with examples. Every command takes --json, which
prints the result as one JSON object on the last line of the standard output."""


def build_parser() -> argparse.ArgumentParser:
    """The whole command line, with help texts."""
    parser = argparse.ArgumentParser(
        prog="rlt-ros",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"rlt-ros {rlt_ros.__version__}")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands", required=True)
    for module in (
        train,
        evaluate,
        report,
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
    ):
        module.add_parser(subparsers)
    for command in subparsers.choices.values():
        add_output_options(command)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``rlt-ros`` with ``argv`` (default: the process's arguments) and return the exit status."""
    args = build_parser().parse_args(argv)
    try:
        result = args.run(args)
        if args.json:
            print_json(result)
        else:
            args.present(result)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED
    except Exception as error:
        message = _message_for_the_user(error)
        if args.debug or message is None:
            raise
        print(f"error: {message}", file=sys.stderr)
        return EXIT_ERROR
    return int(args.status(result)) if "status" in args else 0


def _message_for_the_user(error: Exception) -> str | None:
    """The message of errors for which it is enough, None for bugs.

    Enough it is for our own exceptions, the system's (no space, no such file) and an extra that is not installed.
    """
    if isinstance(error, ModuleNotFoundError) and error.name is not None:
        extra = _EXTRAS.get(error.name.split(".")[0])
        return extra and f"{error.name} is not installed; install it with: pip install 'rlt_ros[{extra}]'"
    if isinstance(error, OSError) or type(error).__module__.split(".")[0] == "rlt_ros":
        return str(error)
    return None


if __name__ == "__main__":
    sys.exit(main())
