"""``rlt-ros robot``: list, check and create robot profiles; forward kinematics."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rlt_ros.cli.options import SubParsers, add_command


class RobotUsageError(ValueError):
    """Missing or invalid option of an action of ``rlt-ros robot``."""


def add_parser(subparsers: SubParsers) -> None:
    """Add ``robot`` to the command line."""
    parser = add_command(
        subparsers,
        "robot",
        summary="list, check and create robot profiles; forward kinematics",
        description="""\
Robot profiles: joints, topics, cameras, frames and limits of a robot in one file.

  list            shipped profiles
  check PROFILE   check a profile against its URDF: limits, home, workspace and drivers
  fk PROFILE      pose of a link in the base frame
  new FILE        write a commented profile for the robot of a URDF""",
        examples="""\
  rlt-ros robot list
  rlt-ros robot check ur5e
  rlt-ros robot fk franka_fr3 --joints "fr3_joint4=-1.57,fr3_joint6=1.57" --link fr3_hand_tcp --json
  rlt-ros robot new my_arm.yaml --urdf my_arm.urdf --tip tool0
  rlt-ros robot check my_arm.yaml""",
    )
    parser.add_argument("action", choices=tuple(_ACTIONS), metavar="|".join(_ACTIONS), help="action (above)")
    parser.add_argument(
        "profile", nargs="?", metavar="PROFILE", help="name of a shipped profile, or the path of a YAML file"
    )
    fk = parser.add_argument_group("fk")
    fk.add_argument(
        "--joints",
        metavar="NAME=VALUE,…",
        default="",
        help="joint positions, rad or m; all others are 0",
    )
    fk.add_argument("--link", metavar="NAME", help="link (default: `tip_frame` of the profile)")
    fk.add_argument(
        "--working",
        action="store_true",
        help="all other joints are at `posture` and `home` of the profile instead of 0",
    )
    new = parser.add_argument_group("new")
    new.add_argument("--urdf", type=Path, metavar="FILE", help="URDF of the robot")
    new.add_argument("--tip", metavar="LINK", help="link that a human moves, usually the tool centre")
    new.add_argument(
        "--arm",
        metavar="JOINT,…",
        help="joints that the policy moves (default: all that move the tip)",
    )
    parser.set_defaults(run=run, present=present, status=status)


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Run the action and return its result."""
    if args.action != "list" and args.profile is None:
        raise RobotUsageError(f"rlt-ros robot {args.action} needs a profile: its name, or the path of a file")
    return _ACTIONS[args.action](args)


def present(result: dict[str, Any]) -> None:
    """Print the result as a table."""
    from rlt_ros.cli.output import print_mapping, print_table

    if "profiles" in result:
        print_table(
            ("profile", "joints", "command", "cameras"),
            [
                (one["name"], str(one["joints"]), one["command"], ", ".join(one["cameras"]))
                for one in result["profiles"]
            ],
        )
    elif "findings" in result:
        print_table(
            ("subject", "verdict", "finding"),
            [(one["what"], one["verdict"], one["text"]) for one in result["findings"]],
        )
    else:
        print_mapping(result)


def status(result: dict[str, Any]) -> int:
    """Exit status: 2 for an unusable profile."""
    return 0 if result.get("usable", True) else 2


def _list(args: argparse.Namespace) -> dict[str, Any]:
    from rlt_ros.robots.profile import load_profile, profile_names

    profiles = [load_profile(name) for name in profile_names()]
    return {
        "profiles": [
            {
                "name": profile.name,
                "joints": profile.dim,
                "command": "\n".join(
                    f"{part.command.type} on {part.command.topic}" for part in profile.drivers
                ),
                "cameras": list(profile.cameras),
                "control_hz": profile.control_hz,
            }
            for profile in profiles
        ]
    }


def _check(args: argparse.Namespace) -> dict[str, Any]:
    import dataclasses

    from rlt_ros.robots.inspection import inspect

    findings = inspect(args.profile)
    errors = [finding for finding in findings if finding.verdict == "error"]
    return {
        "profile": args.profile,
        "usable": not errors,
        "findings": [dataclasses.asdict(finding) for finding in findings],
    }


def _fk(args: argparse.Namespace) -> dict[str, Any]:
    from rlt_ros.robots.body import Body
    from rlt_ros.robots.profile import load_profile

    profile = load_profile(args.profile)
    positions = _positions(args.joints)
    working = {}
    if args.working:
        working = dict(profile.posture or {})
        working.update(zip(profile.joints, profile.home or (), strict=False))
    pose = Body(profile.urdf_path, working).pose(args.link or profile.tip_frame, positions)
    return {
        "frame": pose.parent,
        "link": pose.child,
        "position": pose.translation,
        "orientation": pose.quaternion,
    }


def _positions(text: str) -> dict[str, float]:
    positions = {}
    for pair in filter(None, (part.strip() for part in text.split(","))):
        name, equals, value = (part.strip() for part in pair.partition("="))
        try:
            positions[name] = float(value)
        except ValueError:
            equals = ""
        if not (equals and name):
            raise RobotUsageError(
                f"--joints: {pair!r} is not a joint position; write NAME=VALUE, e.g. elbow=0.5"
            )
    return positions


def _new(args: argparse.Namespace) -> dict[str, Any]:
    from rlt_ros.robots.new_profile import new_profile

    file = Path(args.profile)
    if file.suffix not in (".yaml", ".yml"):
        raise RobotUsageError(f"{file} is not a YAML file; name the new profile like my_arm.yaml")
    if args.urdf is None:
        raise RobotUsageError("rlt-ros robot new needs the robot's URDF: --urdf FILE")
    arm = None if args.arm is None else [joint.strip() for joint in args.arm.split(",")]
    text = new_profile(file.stem, args.urdf, file, tip=args.tip, joints=arm)
    try:
        with file.open("x", encoding="utf-8") as out:
            out.write(text)
    except FileExistsError:
        raise RobotUsageError(f"{file} exists already; choose another name, or remove it") from None
    return {"written": str(file), "next": f"rlt-ros robot check {file}"}


_ACTIONS: dict[str, Callable[[argparse.Namespace], dict[str, Any]]] = {
    "list": _list,
    "check": _check,
    "fk": _fk,
    "new": _new,
}
