"""``rlt-ros replay``: check the rows of a replay, and drop damaged ones."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from rlt_ros.cli.options import SubParsers, add_command

# Printed damaged rows; `--json` has all of them.
_MAX_ROWS = 20
_EXIT_DAMAGED = 3


def add_parser(subparsers: SubParsers) -> None:
    """Add ``replay`` to the command line."""
    parser = add_command(
        subparsers,
        "replay",
        summary="check every row of a replay, and drop damaged ones",
        description="""\
`check` verifies the counters, and the checksum and the range of every stored row, also while a
run writes the file, and ends with status 3 for any damage. `repair` corrects counters in the
file; it writes a file with damaged rows again without them, and keeps the old file as
FILE.damaged. No run may write the file meanwhile.

A run verifies each row when it is first sampled, and skips and counts damaged ones, so a repair is
needed only to remove them.""",
        examples="""\
  rlt-ros replay check runs/charger
  rlt-ros replay repair runs/charger
  rlt-ros replay repair runs/charger/replay.rlt --drop-episode 17    remove an episode as well""",
    )
    parser.add_argument("action", choices=("check", "repair"), metavar="check|repair", help="action (above)")
    parser.add_argument("path", type=Path, metavar="RUN|FILE", help="folder of a run, or a replay file")
    parser.add_argument(
        "--drop-episode",
        type=int,
        action="append",
        default=[],
        metavar="N",
        help="with repair: drop all rows of this episode too; may be repeated",
    )
    parser.set_defaults(run=run, present=present, status=status)


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Check or repair, and return the damaged rows."""
    from rlt_ros.learning.run_folder import REPLAY_FILE
    from rlt_ros.replay.repair import check_replay, repair_replay

    path = args.path / REPLAY_FILE if args.path.is_dir() else args.path
    before = None
    if args.action == "check":
        result = check_replay(path)
    else:
        result, before = repair_replay(path, frozenset(args.drop_episode))
    kept = None if before is None else str(before)
    return {"file": str(path), "action": args.action, **result.as_dict(), "before": kept}


def status(result: dict[str, Any]) -> int:
    """Exit status: 3 if a check found damage."""
    found = result["damaged"] or result["counters"]
    return _EXIT_DAMAGED if result["action"] == "check" and found else 0


def present(result: dict[str, Any]) -> None:
    """Print the damaged rows and the outcome."""
    damaged = result["damaged"]
    remedy = "`rlt-ros replay repair` corrects it" if result["action"] == "check" else "corrected"
    for fault in result["counters"]:
        print(f"counters: {fault}; {remedy}")
    for row in damaged[:_MAX_ROWS]:
        print(f"row {row['row']} (episode {row['episode']}, step {row['step']}) {row['fault']}")
    if len(damaged) > _MAX_ROWS:
        print(f"... and {len(damaged) - _MAX_ROWS} more; --json has all")
    if result["before"] is not None:
        kept = result["rows"] - len(damaged)
        print(f"{result['file']}: dropped {len(damaged)} of {result['rows']} rows, kept {kept}")
        print(f"the old file is {result['before']}")
    elif damaged:
        print(f"{result['file']}: {len(damaged)} of {result['rows']} rows are damaged; "
              "`rlt-ros replay repair` drops them")  # fmt: skip
    else:
        print(f"{result['file']}: all {result['rows']} rows are undamaged")
