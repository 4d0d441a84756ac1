"""``rlt-ros bag``: inspect bags of rosbag2, and convert them to rows of a replay."""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rlt_ros.cli.options import SubParsers, add_command, add_config_options

ACTIONS = ("inspect", "to-replay")
_OF_BAGS = ("states", "namespace", "labels", "outcome", "acted_by")


def add_parser(subparsers: SubParsers) -> None:
    """Add ``bag`` to the command line."""
    parser = add_command(
        subparsers,
        "bag",
        summary="inspect bags of rosbag2, and convert them to a replay",
        description="""\
  inspect    topics, episodes, possible uses of a bag for a robot, and missing topics
  to-replay  store the rows that the live graph stored, or would have stored, in the replay of a run

BAG is a folder of rosbag2 or a single file, MCAP or SQLite, plain or zstd; an unfinished one is
read up to its end. Bags recorded with `record:=true` are complete. States of the same VLA are used
as recorded, those of another VLA are computed again from the recorded images. A bag of another
recorder needs cameras, joint states and commands under the topics of the profile, and --labels or
--outcome for the results.

Rows are added to an existing replay of the same VLA and token. Reading may be stopped and
repeated: no row is stored twice. `rlt-ros launch offline` also learns from them.""",
        examples="""\
  rlt-ros launch collect --record true --out runs/monday
  rlt-ros bag inspect runs/monday/bag
  rlt-ros bag to-replay runs/monday/bag runs/monday/bag_1 --out runs/offline --task charger
  rlt-ros bag to-replay demo.mcap --robot my_arm.yaml --labels demo.yaml --vla my_vla --out runs/demo""",
    )
    parser.add_argument("action", choices=ACTIONS, metavar="|".join(ACTIONS), help="action (above)")
    parser.add_argument("bags", nargs="+", type=Path, metavar="BAG", help="folder or file")
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="folder of the run; created if missing (to-replay)"
    )
    parser.add_argument(
        "--robot",
        default="agibot_g1_geniesim",
        metavar="PROFILE",
        help="a name from config/robots/, or a YAML file (default: %(default)s)",
    )
    parser.add_argument(
        "--task",
        default="charger",
        metavar="TASK",
        help="a name from config/tasks/, or a YAML file (default: %(default)s)",
    )
    parser.add_argument(
        "--vla",
        default="builtin",
        metavar="VLA",
        help="builtin, a folder of weights, or KIND:LOCATION[@ADAPTER.yaml] (default: %(default)s)",
    )
    parser.add_argument(
        "--namespace",
        default="auto",
        metavar="NAME,…",
        help="namespaces of the robots; auto: those with episodes in the bag, else the root (default: %(default)s)",
    )
    parser.add_argument(
        "--states",
        choices=("auto", "recorded", "computed"),
        default="auto",
        help="use the recorded states, or let the VLA compute them (default: %(default)s: recorded if they are of this "
        "VLA)",
    )
    others = parser.add_argument_group("bags without recorded episodes")
    others.add_argument(
        "--labels",
        default="",
        metavar="FILE",
        help="YAML: a list of start, end, critical, outcome; seconds from the bag's start, or since 1970",
    )
    others.add_argument(
        "--outcome",
        choices=("cut", "success", "failure"),
        default="cut",
        help="outcome of a bag that is a single episode (default: %(default)s)",
    )
    others.add_argument(
        "--acted-by",
        choices=("human", "vla"),
        default="human",
        help="source of the commands (default: %(default)s)",
    )
    add_config_options(parser)
    parser.set_defaults(run=run, present=present, status=status)


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Inspect the bags, or fill the replay."""
    return _inspect(args) if args.action == "inspect" else _to_replay(args)


def _inspect(args: argparse.Namespace) -> dict[str, Any]:
    from rlt_ros.bags.bag_files import Bag
    from rlt_ros.robots.profile import load_profile
    from rlt_ros.ros.bag_inspect import inspect

    profile = load_profile(args.robot)
    names = [] if args.namespace == "auto" else [name.strip("/ ") for name in args.namespace.split(",")]
    return {"robot": profile.name, "bags": [inspect(Bag(path), profile, names) for path in args.bags]}


def _to_replay(args: argparse.Namespace) -> dict[str, Any]:
    import torch
    from rich.console import Console

    from rlt_ros.experiments.progress import bar
    from rlt_ros.ros.bag_import import BagImport

    # The states must equal those of the live inference bitwise.
    torch.set_num_threads(1)
    bags = BagImport(_settings(args))
    begun = time.monotonic()
    try:
        with bar(Console(stderr=True), "reading", max(1, round(bags.seconds))) as advance:
            shown = 0
            for seconds in bags.run():
                if int(seconds) > shown:
                    rows = bags.store.replay.total if bags.store.replay else 0
                    advance(int(seconds) - shown, f"s; {rows} rows")
                    shown = int(seconds)
        result = bags.report()
    finally:
        bags.close()
    wall = time.monotonic() - begun
    return {**result, "wall_seconds": wall, "times_real_time": result["seconds_of_recording"] / wall}


def _settings(args: argparse.Namespace) -> Any:
    from rlt_ros.cli.overrides import read_overrides
    from rlt_ros.ros.bag_import import ImportSettings
    from rlt_ros.store.parameters import ConfigError, build

    if args.out is None:
        raise ConfigError("`--out` is missing; give the folder of the run")
    options = {
        "setup": {name: getattr(args, name) for name in ("robot", "task", "vla")},
        "bags": {
            "bags": [str(path) for path in args.bags],
            "out": str(args.out),
            **{name: getattr(args, name) for name in _OF_BAGS},
        },
    }
    return build(ImportSettings, {**read_overrides(args.config, args.set), **options}, origin="bag")


def status(result: Mapping[str, Any]) -> int:
    """Exit status: 3, with the reasons, if the bags gave no rows."""
    from rlt_ros.cli.output import exit_empty

    if result.get("rows", 1):
        return 0
    skipped = sorted(result["skipped"].items(), key=lambda item: -item[1]["count"])
    reasons = [f"{one['count']} × {kind}, e.g. {one['example']}" for kind, one in skipped]
    return exit_empty("the bags gave no rows", [*reasons, *result["warnings"], *result["damaged"]])


def present(result: dict[str, Any]) -> None:
    """Print the contents of the bags, or the result of the conversion."""
    if "replay" in result:
        _present_replay(result)
        return
    for bag in result["bags"]:
        _present_bag(bag, result["robot"])


def _present_replay(result: dict[str, Any]) -> None:
    from rlt_ros.cli.output import number

    for bag in result["bags"]:
        robot = f" of {bag['namespace']}" if bag["namespace"] else ""
        print(f"{bag['bag']}{robot}: {bag['read_as']}")
    print(
        f"{result['rows']:,} rows of {result['episodes']} episodes, {result['successes']} successes and "
        f"{result['failures']} failures; {result['new_rows']:,} rows are new, the replay has "
        f"{result['rows_in_replay']:,}"
    )
    print(
        f"{number(result['seconds_of_recording'], 1, ' s')} of recording in {number(result['wall_seconds'], 1, ' s')}, "
        f"{number(result['times_real_time'], 1)} times as fast as real time"
    )
    if result["renumbered_episodes"]:
        print(
            f"{result['renumbered_episodes']} episodes have new numbers, because the replay has others with theirs"
        )
    for topics in result["stamps"].values():
        for topic, one in topics.items():
            median = one["median_stamp_minus_recording"]
            print(f"{topic}: stamp − recording {'none' if median is None else f'{median:+.3f} s'}, median")
    for warning in result["warnings"]:
        print(f"warning: {warning}")
    for kind, skipped in result["skipped"].items():
        print(f"skipped {skipped['count']} × {kind}, e.g. {skipped['example']}")
    for fault in result["damaged"]:
        print(f"damaged: {fault}")
    print(f"replay: {result['replay']}")


def _present_bag(bag: dict[str, Any], robot: str) -> None:
    from rlt_ros.cli.output import number, print_table

    rows = [
        (topic["topic"], topic["type"], f"{topic['messages']:,}", number(topic["hz"], 1))
        for topic in bag["topics"]
    ]
    title = f"{bag['bag']}: {bag['seconds']:.1f} s, {bag['messages']:,} messages"
    print_table(("topic", "type", "messages", "Hz"), rows, title=title)
    for one in bag["robots"]:
        name = f"robot {one['namespace']}: " if one["namespace"] else ""
        counts = ", ".join(
            f"{count} {kind.replace('_', ' ')}" for kind, count in one["episodes"].items() if count
        )
        print(f"{name}episodes: {counts or 'none'}")
        if one["vla"]:
            print(f"{name}states of VLA {one['vla']}, token {one['token']}")
        for way in one["ways"]:
            text = "open" if way["open"] else f"lacks {'; '.join(way['lacks'])}. Remedy: {way['remedy']}"
            print(f"{name}as {way['way']} of {robot}: {text}")
    for fault in bag["damaged"]:
        print(f"damaged: {fault}")
