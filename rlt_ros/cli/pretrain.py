"""``rlt-ros pretrain``: train the built-in VLA and the RL tokens from scratch, or a token from data and any VLA."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from rlt_ros.cli.data import (
    UsageError,
    add_choice_options,
    add_source_options,
    embedding_spec,
    opened,
    or_empty,
    status,
)
from rlt_ros.cli.options import SubParsers, add_command, add_config_options
from rlt_ros.store.storage import sweep


def add_parser(subparsers: SubParsers) -> None:
    """Add ``pretrain`` to the command line."""
    parser = add_command(
        subparsers,
        "pretrain",
        summary="train the built-in VLA and the RL tokens from scratch, or a token from data",
        description="""\
Records demonstrations of every task with the scripted demonstrator, trains the built-in VLA
on them by imitation, then trains the RL token of each task on the VLA's image embeddings.
This command made the shipped weights of `rlt-ros train`.

With --data it trains the RL token of any VLA on any data set that `rlt-ros data` reads.

The same command continues after an interruption.""",
        examples="""\
  rlt-ros pretrain --out weights
  rlt-ros pretrain --out weights --set pretrain.demonstrations=50
  rlt-ros train --weights weights --task charger --out runs/own-weights
  rlt-ros pretrain --robot ur5e --out weights-ur5e
  rlt-ros train --robot ur5e --weights weights-ur5e --task charger --out runs/ur5e
  rlt-ros pretrain --data pick_block --vla transformers:/models/pi0@arm.yaml --task pick_block --out tokens""",
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder of the weights")
    parser.add_argument(
        "--seed", type=int, default=0, help="seed of all random generators (default: %(default)s)"
    )
    parser.add_argument(
        "--robot",
        metavar="PROFILE",
        help="robot of the demonstrations and of the VLA (default: agibot_g1_geniesim)",
    )
    data = parser.add_argument_group("from data")
    data.add_argument(
        "--data", nargs="+", type=Path, metavar="PATH", help="data set: a folder, archives or their parts"
    )
    data.add_argument(
        "--task", default="", metavar="NAME", help="name of the token (default: the data's task)"
    )
    add_source_options(data)
    add_choice_options(data)
    add_config_options(parser)
    parser.set_defaults(run=run, present=present, status=status)


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Train the weights; return their files and figures."""
    sweep(args.out)
    if args.data:
        return or_empty(lambda: _from_data(args))
    if args.vla:
        raise UsageError("pretrain: --vla needs --data; without data the built-in VLA is trained")
    from rlt_ros.sim.opengl import ensure_opengl

    # Before the import of MuJoCo, which chooses its backend once.
    ensure_opengl()
    from rlt_ros.cli.overrides import read_overrides
    from rlt_ros.experiments.pretrain import run as train_weights

    overrides = read_overrides(args.config, args.set)
    if args.robot:
        overrides.setdefault("pretrain", {})["robot"] = args.robot
    return train_weights(args.out, seed=args.seed, overrides=overrides)


def _from_data(args: argparse.Namespace) -> dict[str, Any]:
    from rlt_ros.cli.overrides import read_overrides
    from rlt_ros.data.episode import slug
    from rlt_ros.data.errors import EmptyResultError
    from rlt_ros.experiments.token_from_data import run as train_token
    from rlt_ros.vla.loading import load_vla

    vla = load_vla(args.vla or "builtin")
    with opened(args, args.data) as source:
        task = args.task
        if not task:
            first = next(source.episodes(source.selected(args.episodes)), None)
            if first is None:
                raise EmptyResultError(f"{source.container.origin}: no episode can be read", source.reasons())
            task = first.task
        return train_token(
            args.out,
            source,
            vla,
            task=slug(task),
            wanted=args.episodes,
            spec=embedding_spec(args),
            seed=args.seed,
            overrides=read_overrides(args.config, args.set),
        )


def present(result: dict[str, Any]) -> None:
    """Print the files of the weights and their figures."""
    from rlt_ros.cli.output import print_mapping

    # `status` prints the reasons of an empty result.
    if "empty" not in result:
        print_mapping(result)
