"""``rlt-ros replay``: check the rows of a replay, and drop those that are damaged."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from rlt_ros.cli.options import SubParsers, add_command

_SHOWN = 20  # rows named to a person; `--json` names all
_EXIT_DAMAGED = 3


def add_parser(subparsers: SubParsers) -> None:
    """Add ``replay`` to the command line."""
    parser = add_command(
        subparsers,
        "replay",
        summary="check every row of a replay, and drop those that are damaged",
        description="""\
`check` verifies the counters, and the checksum and the range of every stored row, also while a
run writes the file, and ends with status 3 if something is damaged. `repair` corrects counters
in the file; where rows are damaged it writes the file again without them and keeps the file
before as FILE.damaged. No run may write the file meanwhile.

A run verifies each row itself when the row is first sampled, leaves damaged ones out and counts
them. So a repair is needed only where the rows are to be gone.""",
        examples="""\
  rlt-ros replay check runs/charger
  rlt-ros replay repair runs/charger
  rlt-ros replay repair runs/charger/replay.rlt --drop-episode 17    an episode that must not be learned from""",
    )
    parser.add_argument("action", choices=("check", "repair"), metavar="check|repair", help="what to do")
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
    from rlt_ros.rlt.replay_repair import check_replay, repair_replay
    from rlt_ros.rlt.run_folder import REPLAY_FILE

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
    for row in damaged[:_SHOWN]:
        print(f"row {row['row']} (episode {row['episode']}, step {row['step']}) {row['fault']}")
    if len(damaged) > _SHOWN:
        print(f"... and {len(damaged) - _SHOWN} more; --json names all")
    if result["before"] is not None:
        kept = result["rows"] - len(damaged)
        print(f"{result['file']}: dropped {len(damaged)} of {result['rows']} rows, kept {kept}")
        print(f"the file before is {result['before']}")
    elif damaged:
        print(f"{result['file']}: {len(damaged)} of {result['rows']} rows are damaged; "
              "`rlt-ros replay repair` drops them")  # fmt: skip
    else:
        print(f"{result['file']}: all {result['rows']} rows are sound")
