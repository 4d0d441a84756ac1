"""``rlt-ros``: parse the command line, run one sub-command, and print an error as one line.

A sub-command is a module with ``add_parser(subparsers)``, which sets two functions: ``run(args) -> dict`` does the work
and returns the object of ``--json``; ``present(result)`` prints it as text. If a result can be bad or empty,
``status(result) -> int`` gives the exit status. Heavy imports (torch, MuJoCo) are inside ``run``, so that
``rlt-ros --help`` is fast.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from rlt_ros.cli.output import EXIT_ERROR, print_json
from rlt_ros.store.interruption import EXIT_INTERRUPTED, exit_silently_on_interrupt, raise_on_interrupt

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
"""Module → extra of this package that installs it."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``rlt-ros`` with ``argv`` (default: arguments of the process); return the exit status."""
    program = argv is None
    if program:
        # While modules load, nothing needs cleaning up.
        exit_silently_on_interrupt()
    from rlt_ros.cli.parser import build_parser

    parser = build_parser()
    args = parser.parse_args(argv)
    if args.command is None:
        parser.print_help()
        return 0
    if program and "resumable" not in args:
        raise_on_interrupt()
    try:
        return _run(args)
    except KeyboardInterrupt as interrupt:
        print(str(interrupt) or "interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED
    finally:
        if program:
            # The work is done.
            exit_silently_on_interrupt()


def _run(args: argparse.Namespace) -> int:
    try:
        result = args.run(args)
        if args.json:
            print_json(result)
        else:
            args.present(result)
    except Exception as error:
        message = _error_text(error)
        if args.debug or message is None:
            raise
        print(f"error: {message}", file=sys.stderr)
        return EXIT_ERROR
    return int(args.status(result)) if "status" in args else 0


def _error_text(error: Exception) -> str | None:
    """Message of an expected error; None for a bug.

    Expected are exceptions of this package and of the system (no space, no such file), and missing extras.
    """
    if isinstance(error, ModuleNotFoundError) and error.name is not None:
        extra = _EXTRAS.get(error.name.split(".")[0])
        return extra and f"{error.name} is not installed; install it with: pip install 'rlt_ros[{extra}]'"
    if isinstance(error, OSError) or type(error).__module__.split(".")[0] == "rlt_ros":
        return str(error)
    return None


if __name__ == "__main__":
    sys.exit(main())
