"""``rlt-ros vla``: check that a VLA fits a robot and a task."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from rlt_ros.cli.options import SubParsers, add_command, positive_int


def add_parser(subparsers: SubParsers) -> None:
    """Add ``vla`` to the command line."""
    parser = add_command(
        subparsers,
        "vla",
        summary="check that a VLA fits a robot and a task",
        description="""\
Loads the VLA and compares cameras, joints, horizon and action statistics with the robot
profile, then runs it: embeddings and RL token must differ for different images, and its actions
must be feasible for the arm. With demonstrations it also measures the action scale, and the
distance of the VLA's chunks from the demonstrated ones.

`inference_node` makes the same check before it starts.""",
        examples="""\
  rlt-ros vla check builtin --robot agibot_g1_geniesim --task charger
  rlt-ros vla check transformers:/models/pi0 --robot franka_fr3 --task charger
  rlt-ros vla check lerobot:lerobot/smolvla_base@arm.yaml --task charger --data demonstrations""",
    )
    parser.add_argument("action", choices=("check",), metavar="check", help="action (above)")
    parser.add_argument(
        "vla", metavar="VLA", help="builtin[:ROBOT], a folder of weights, or KIND:LOCATION[@ADAPTER.yaml]"
    )
    parser.add_argument("--robot", default="agibot_g1_geniesim", help="robot profile (default: %(default)s)")
    parser.add_argument("--task", default="charger", help="task (default: %(default)s)")
    parser.add_argument(
        "--chunk", type=positive_int, metavar="C", help="steps of a chunk (default: `rlt.chunk`)"
    )
    parser.add_argument("--data", type=Path, metavar="DIR", help="demonstrations to compare with")
    parser.set_defaults(run=run, present=present, status=status)


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Check the VLA and return the table."""
    from rlt_ros.episodes.tasks import load_task
    from rlt_ros.rlt.config import RLTConfig
    from rlt_ros.rlt.token_readouts import load_readout
    from rlt_ros.robots.profile import load_profile
    from rlt_ros.vla.fit import FitResult, as_rows, compare, run_probe
    from rlt_ros.vla.loading import load_vla, token_path

    profile, task = load_profile(args.robot), load_task(args.task)
    vla = load_vla(args.vla, args.robot)
    path = token_path(args.vla, task.name, args.robot)
    token = load_readout(path, vla=vla.fingerprint) if path.is_file() else None
    chunk = args.chunk or RLTConfig().chunk
    findings = compare(vla, profile, chunk=chunk)
    if all(finding.fits for finding in findings):
        findings += run_probe(vla, profile, task.instruction, token)
    if token is None:
        findings.append(
            FitResult("RL token", "none", f"task `{task.name}`", f"train one and put it at {path}")
        )
    result: dict[str, Any] = {
        "vla": args.vla,
        "fingerprint": vla.fingerprint,
        "fits": all(finding.fits for finding in findings),
        "findings": as_rows(findings),
    }
    if args.data is not None:
        from rlt_ros.data.demonstrations import load_folder
        from rlt_ros.data.frames import Frames
        from rlt_ros.data.vla_fit import measure

        result["data"] = measure(vla, Frames(load_folder(args.data), vla.spec.cameras), chunk=chunk)
    return result


def present(result: dict[str, Any]) -> None:
    """Print the table."""
    from rlt_ros.cli.output import print_mapping, print_table

    findings = result["findings"]
    rows = [(row["subject"], row["vla"], row["robot"], "yes" if row["fits"] else "no") for row in findings]
    print_table(
        ("", "VLA", "robot or task", "fits"), rows, title=f"{result['vla']} ({result['fingerprint']})"
    )
    # Below the table, which could cut long texts such as paths.
    for row in findings:
        if not row["fits"]:
            print(f"{row['subject']}: {row['remedy']}")
    if "data" in result:
        print_mapping(result["data"])


def status(result: dict[str, Any]) -> int:
    """Exit status: 1 if the VLA does not fit."""
    return 0 if result["fits"] else 1
