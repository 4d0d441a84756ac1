"""``rlt-ros eval``: evaluate the policy of a run."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from rlt_ros.cli.options import SubParsers, add_command, positive_int
from rlt_ros.cli.summary import present_outcomes


def add_parser(subparsers: SubParsers) -> None:
    """Add ``eval`` to the command line."""
    parser = add_command(
        subparsers,
        "eval",
        summary="evaluate the policy of a run",
        description="""\
Evaluation episodes with the mean action of the trained policy: success rate, median steps
of a success and successes in 10 robot minutes, each with a 95 % interval.

--images tests whether the policy uses its images: with blank ones, or those of another episode,
its success must fall to the VLA's level or below.""",
        examples="""\
  rlt-ros eval runs/charger --episodes 100
  rlt-ros eval runs/charger --policy base              the frozen VLA alone
  rlt-ros eval runs/charger --images swapped --json""",
    )
    parser.add_argument("run_dir", type=Path, metavar="RUN", help="folder of a trained run")
    parser.add_argument(
        "--episodes",
        type=positive_int,
        default=100,
        metavar="N",
        help="number of episodes (default: %(default)s)",
    )
    parser.add_argument(
        "--policy",
        choices=("rlt", "base", "demo"),
        default="rlt",
        help="trained policy, frozen VLA or scripted demonstrator (default: %(default)s)",
    )
    parser.add_argument(
        "--images",
        choices=("true", "blank", "swapped"),
        default="true",
        help="images of the policy (default: %(default)s, those of the cameras)",
    )
    parser.add_argument(
        "--seed", type=int, help="seed of the episodes (default: the evaluation episodes of the run)"
    )
    parser.set_defaults(run=run, present=present)


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Evaluate the run and return the measured outcomes."""
    from rlt_ros.sim.opengl import ensure_opengl

    # Before the import of MuJoCo, which chooses its backend once.
    ensure_opengl()
    from rlt_ros.experiments.evaluation import evaluate

    return evaluate(
        args.run_dir, episodes=args.episodes, policy=args.policy, images=args.images, seed=args.seed
    )


def present(result: dict[str, Any]) -> None:
    """Print the outcomes as a table."""
    name = (
        result["policy"] if result["images"] == "true" else f"{result['policy']}, {result['images']} images"
    )
    present_outcomes({name: result})
