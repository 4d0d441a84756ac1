"""``rlt-ros pretrain``: make the built-in VLA and the RL tokens from nothing."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from rlt_ros.cli.options import SubParsers, add_command, add_config_options


def add_parser(subparsers: SubParsers) -> None:
    """Add ``pretrain`` to the command line."""
    parser = add_command(
        subparsers,
        "pretrain",
        summary="make the built-in VLA and the RL tokens from nothing",
        description="""\
Records demonstrations of every task with the scripted demonstrator, trains the built-in VLA
on them by imitation, then trains the RL token of each task on the VLA's image embeddings.
The weights that `rlt-ros train` starts from were made by this command.

What is finished is kept: the same command goes on after an interruption.""",
        examples="""\
  rlt-ros pretrain --out weights
  rlt-ros pretrain --out weights --set pretrain.demonstrations=50
  rlt-ros train --weights weights --task charger --out runs/own-weights""",
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="where the weights go")
    parser.add_argument("--seed", type=int, default=0, help="of everything random (default: %(default)s)")
    add_config_options(parser)
    parser.set_defaults(run=run, present=present)


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Make the weights and return what was made and how good it is."""
    from rlt_ros.sim.opengl import ensure_opengl

    ensure_opengl()  # before anything imports MuJoCo, which chooses its backend once
    from rlt_ros.cli.overrides import read_overrides
    from rlt_ros.experiments.pretrain import run as make_weights

    return make_weights(args.out, seed=args.seed, overrides=read_overrides(args.config, args.set))


def present(result: dict[str, Any]) -> None:
    """Print where the weights are and the figures that tell whether they are good."""
    from rlt_ros.cli.output import print_mapping

    print_mapping(result)
