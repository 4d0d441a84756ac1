"""``rlt-ros train``: learn one task in simulation."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rlt_ros.bringup import Arguments
from rlt_ros.cli.options import SubParsers, add_command, add_config_options, positive_float, positive_int
from rlt_ros.cli.overrides import read_overrides
from rlt_ros.cli.summary import present_summary
from rlt_ros.learning.run_folder import REPORT_FILE, finished_summary, require_same_config
from rlt_ros.preflight import check_arguments
from rlt_ros.sim import SCENES
from rlt_ros.store.interruption import stop_on_request
from rlt_ros.store.run_lock import RunLock
from rlt_ros.vla.address import BUILTIN


def add_parser(subparsers: SubParsers) -> None:
    """Add ``train`` to the command line."""
    parser = add_command(
        subparsers,
        "train",
        summary="learn a precision task in simulation",
        description="""\
The frozen VLA moves the arm to the critical phase, which a small actor and critic learn online
to complete. First some episodes with the VLA alone (warm-up), then online RL until the
budget of robot minutes is spent, then an evaluation of VLA, demonstrator and policy.

Ctrl-C stops it with status 130. The same command continues a stopped run, and prints the summary
of a finished one.""",
        examples="""\
  rlt-ros train --task charger --out runs/charger
  rlt-ros train --task screw --seed 2 --robot-minutes 15 --out runs/screw-2
  rlt-ros train --task charger --set rlt.beta=0.05 --out runs/beta
  tensorboard --logdir runs                            show the curves live""",
    )
    parser.add_argument(
        "--task", default="charger", metavar="TASK", help=f"{' | '.join(SCENES)} (default: %(default)s)"
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="seed of all random generators (default: %(default)s)"
    )
    parser.add_argument(
        "--robot-minutes",
        type=positive_float,
        default=9.0,
        metavar="N",
        help="simulated robot time in the critical phase (default: %(default)s)",
    )
    parser.add_argument(
        "--eval-episodes",
        type=positive_int,
        default=100,
        metavar="N",
        help="episodes of each evaluation at the end (default: %(default)s)",
    )
    parser.add_argument(
        "--weights",
        metavar="DIR|VLA",
        help="VLA and token: a folder of `rlt-ros pretrain`, or the name of another VLA (default: the shipped ones of "
        "the robot)",
    )
    parser.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="folder of the run; created if missing"
    )
    parser.add_argument("--robot", metavar="PROFILE", help="simulated robot (default: agibot_g1_geniesim)")
    add_config_options(parser)
    parser.set_defaults(run=run, present=present, resumable=True)


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Train, or continue training, and return the summary of the run."""
    from rlt_ros.experiments.run_config import build_settings, config_document

    overrides = read_overrides(args.config, args.set)
    if args.robot:
        overrides.setdefault("run", {})["robot"] = args.robot
    chosen = build_settings(overrides, origin="training settings")
    vla = args.weights or BUILTIN
    arguments = Arguments(
        robot=chosen.run.robot,
        task=args.task,
        vla=vla,
        out=str(args.out),
        seed=args.seed,
        robot_minutes=args.robot_minutes,
        eval_episodes=args.eval_episodes,
    )
    check_arguments("train", arguments, one_process=True)
    require_same_config(args.out, config_document(args.task, args.seed, vla, chosen))
    lock = RunLock(args.out)
    try:
        done = finished_summary(args.out, args.robot_minutes, args.eval_episodes)
        summary = done or _train(args, vla, overrides)
        return {**summary, "report": str(args.out / REPORT_FILE)}
    finally:
        lock.release()


def present(result: dict[str, Any]) -> None:
    """Print the results, and the path of the report last."""
    present_summary(result)
    print(result["report"])


def _train(args: argparse.Namespace, vla: str, overrides: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    from rlt_ros.sim.opengl import ensure_opengl

    with stop_on_request() as request:
        # Before the import of MuJoCo, which chooses its backend once.
        ensure_opengl()
        from rlt_ros.experiments.trainer import train

        return train(
            task=args.task,
            seed=args.seed,
            robot_minutes=args.robot_minutes,
            eval_episodes=args.eval_episodes,
            vla=vla,
            out=args.out,
            overrides=overrides,
            poll=request.poll,
        )
