"""``rlt-ros data``: inspect, download, convert and embed data sets."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rlt_ros.cli.options import SubParsers, add_command, positive_int
from rlt_ros.store.storage import sweep

ACTIONS = ("inspect", "download", "convert", "embed")
FORMATS = ("lerobot", "lerobot-v2.1", "demonstrations")
GENIE_SIM = "agibot_world/GenieSim3.0-Dataset"
# Printed lines of each list.
_MAX_LINES = 20
EVERY = 5
"""Rows from one embedded image to the next: neighbours at 30 Hz are nearly the same."""


def add_parser(subparsers: SubParsers) -> None:
    """Add ``data`` to the command line."""
    parser = add_command(
        subparsers,
        "data",
        summary="inspect, convert and embed data sets of LeRobot, Genie Sim and AgiBot World",
        description="""\
  inspect    layout of a data set, its episodes, cameras, gripper ranges, and faults
  download   files of a ModelScope data set with paths that match --include
  convert    episodes into a LeRobot data set, or into demonstrations for the built-in VLA
  embed      episodes into embeddings of a frozen VLA for `rlt-ros pretrain --data`

PATH is a folder, or archives and parts of archives (….tar.gz.000, .001 …), which are read as a
stream without joining or unpacking; only files of the current episodes are written to the disk.
The same command continues after an interruption, and after a missing part has arrived.""",
        examples="""\
  rlt-ros data download --include 'dataset/pick_block_color/g1/*' --out genie
  rlt-ros data inspect genie
  rlt-ros data convert genie --episodes 0-49 --out pick_block
  rlt-ros data convert runs/demonstrations --to lerobot-v2.1 --out mine
  rlt-ros data embed pick_block --vla builtin --joints idx61_arm_r_joint1,… --out embeddings""",
    )
    parser.add_argument("action", choices=ACTIONS, metavar="|".join(ACTIONS), help="action (above)")
    parser.add_argument("paths", nargs="*", type=Path, metavar="PATH", help="folder, archives or their parts")
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder of the result")
    add_source_options(parser)
    fetch = parser.add_argument_group("download")
    fetch.add_argument(
        "--dataset", default=GENIE_SIM, metavar="OWNER/NAME", help="on ModelScope (default: %(default)s)"
    )
    fetch.add_argument(
        "--include", action="append", default=[], metavar="PATTERN", help="paths to download; may be repeated"
    )
    fetch.add_argument(
        "--exclude",
        action="append",
        default=[],
        metavar="PATTERN",
        help="paths to leave out; may be repeated",
    )
    convert = parser.add_argument_group("convert")
    convert.add_argument(
        "--to", choices=FORMATS, default=FORMATS[0], help="format (default: %(default)s, v3.0)"
    )
    convert.add_argument(
        "--size",
        type=_size,
        metavar="HxW",
        help="size of images (default: as recorded; demonstrations: 64x64)",
    )
    convert.add_argument(
        "--codec",
        choices=("av1", "hevc", "h264"),
        default="av1",
        help="codec of new videos (default: %(default)s)",
    )
    convert.add_argument("--robot-type", default="", metavar="NAME", help="name of the robot for LeRobot")
    convert.add_argument("--partial", action="store_true", help="finish although the archive is incomplete")
    add_choice_options(parser.add_argument_group("embed"))
    parser.set_defaults(run=run, present=present, status=status)


def add_source_options(parser: argparse.ArgumentParser | argparse._ArgumentGroup) -> None:
    """Options that select a part of a data set."""
    parser.add_argument(
        "--episodes",
        default="",
        metavar="0-9,12,NAME*",
        help="selected episodes, by position or by name (default: all)",
    )
    parser.add_argument(
        "--fields",
        type=Path,
        metavar="FILE",
        help="JSON: field_descriptions of observation.state and action, for releases without them",
    )
    parser.add_argument(
        "--state-key",
        type=_names,
        default=(),
        metavar="KEY,…",
        help="features of a LeRobot set that make up the state (default: observation.state)",
    )
    parser.add_argument(
        "--action-key",
        type=_names,
        default=(),
        metavar="KEY,…",
        help="features of a LeRobot set that make up the action (default: action)",
    )
    parser.add_argument(
        "--joint-names",
        type=_names,
        default=(),
        metavar="NAME,…",
        help="joint names of recordings without names",
    )
    parser.add_argument(
        "--work",
        type=Path,
        metavar="DIR",
        help="folder for catalogues, and files of the current episodes (default: ~/.cache/rlt_ros/data)",
    )


def add_choice_options(group: argparse._ArgumentGroup) -> None:
    """Options that select the observations of an episode for a VLA."""
    group.add_argument(
        "--vla", metavar="VLA", help="builtin[:ROBOT], a folder of weights, or KIND:LOCATION[@ADAPTER.yaml]"
    )
    group.add_argument(
        "--every",
        type=positive_int,
        metavar="N",
        help="rows from one image to the next (default: 5; demonstrations: 1)",
    )
    group.add_argument(
        "--joints", type=_names, default=(), metavar="NAME,…", help="joints of the VLA (default: all)"
    )
    group.add_argument(
        "--camera",
        action="append",
        type=_pair,
        default=[],
        metavar="VLA=DATA",
        help="camera of the VLA and of the data, where their names differ; may be repeated",
    )
    group.add_argument("--instruction", default="", metavar="TEXT", help="instruction instead of the data's")


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Run the action and return its result."""
    actions: Mapping[str, Callable[[argparse.Namespace], dict[str, Any]]] = {
        "inspect": _inspect,
        "download": _download,
        "convert": _convert,
        "embed": _embed,
    }
    if args.action != "inspect" and args.out is None:
        raise UsageError(f"data {args.action}: give the folder of the result with --out DIR")
    if args.action != "download" and not args.paths:
        raise UsageError(f"data {args.action}: name a folder, an archive or its parts")
    if args.action in ("convert", "embed"):
        for folder in filter(None, (args.out, args.work)):
            sweep(folder)
    return or_empty(lambda: actions[args.action](args))


def or_empty(work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Result of ``work``; for an input without results, its name and every reason."""
    from rlt_ros.data.errors import EmptyResultError

    try:
        return work()
    except EmptyResultError as error:
        return {"empty": error.what, "reasons": error.reasons}


def status(result: Mapping[str, Any]) -> int:
    """Exit status: 3, with the reasons, for an input without results."""
    from rlt_ros.cli.output import exit_empty

    return exit_empty(result["empty"], result["reasons"]) if "empty" in result else 0


def present(result: dict[str, Any]) -> None:
    """Print the result as a table."""
    from rlt_ros.cli.output import print_mapping

    # `status` prints the reasons of an empty result.
    if "empty" in result:
        return
    lists = {"left out": result.get("skipped"), "note": result.get("notes")}
    plain = {key: value for key, value in result.items() if key not in ("skipped", "notes")}
    counts = {kind: listed["total"] for kind, listed in lists.items() if listed}
    print_mapping({**plain, **counts})
    for kind, listed in lists.items():
        lines = listed["examples"] if listed else []
        for line in lines[:_MAX_LINES]:
            print(f"{kind}: {line}")
        if listed and listed["total"] > _MAX_LINES:
            print(f"{kind}: and {listed['total'] - _MAX_LINES} more; --json lists all")


class UsageError(ValueError):
    """Missing option of an action."""


@contextmanager
def opened(args: argparse.Namespace, paths: list[Path]) -> Iterator[Any]:
    """Yield the data set; show a bar on the standard error while archives are read."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    from rlt_ros.data.source import open_source

    columns = (TextColumn("read archive"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("read", total=None, visible=False)

        def show(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total, visible=True)

        source = open_source(
            paths,
            work=args.work,
            fields=args.fields,
            joints=args.joint_names,
            state=args.state_key,
            action=args.action_key,
            progress=show,
        )
        bar.update(task, visible=False)
        yield source


def embedding_spec(args: argparse.Namespace) -> Any:
    """Selected observations of an episode for the VLA."""
    from rlt_ros.data.embeddings import EmbeddingSpec

    return EmbeddingSpec(args.every or EVERY, tuple(args.joints), dict(args.camera), args.instruction)


def _inspect(args: argparse.Namespace) -> dict[str, Any]:
    from rlt_ros.data.inspect import inspect

    with opened(args, args.paths) as source:
        return inspect(source, args.paths, wanted=args.episodes)


def _download(args: argparse.Namespace) -> dict[str, Any]:
    from rlt_ros.data.download import download

    return download(args.dataset, args.out, include=args.include, exclude=args.exclude)


def _convert(args: argparse.Namespace) -> dict[str, Any]:
    from rlt_ros.data.convert import to_demonstrations, to_lerobot

    with opened(args, args.paths) as source:
        names = source.selected(args.episodes)
        if args.to == "demonstrations":
            size = args.size or (64, 64)
            return to_demonstrations(source, args.out, names=names, size=size, every=args.every or 1)
        return to_lerobot(
            source,
            args.out,
            names=names,
            version="v2.1" if args.to == "lerobot-v2.1" else "v3.0",
            codec=args.codec,
            size=args.size,
            robot_type=args.robot_type,
            partial=args.partial,
        )


def _embed(args: argparse.Namespace) -> dict[str, Any]:
    from rlt_ros.data.embeddings import EmbeddingFolder, embed
    from rlt_ros.vla.loading import load_vla

    if not args.vla:
        raise UsageError("data embed: give the VLA with --vla")
    vla = load_vla(args.vla)
    with opened(args, args.paths) as source:
        folder = EmbeddingFolder(args.out, vla, embedding_spec(args), source.container.origin)
        return embed(source, folder, source.selected(args.episodes))


def _names(text: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    if not names:
        raise argparse.ArgumentTypeError(f"{text!r} has no name")
    return names


def _pair(text: str) -> tuple[str, str]:
    of_vla, equals, of_data = text.partition("=")
    if not (of_vla and equals and of_data):
        raise argparse.ArgumentTypeError(f"{text!r} is not VLA=DATA")
    return of_vla, of_data


def _size(text: str) -> tuple[int, int]:
    height, cross, width = text.partition("x")
    if not (cross and height.isdigit() and width.isdigit() and int(height) and int(width)):
        raise argparse.ArgumentTypeError(f"{text!r} is not a size like 224x224 (height x width)")
    return int(height), int(width)
