"""``rlt-ros bench``: speed of the parts that limit learning, and robustness of the graph."""

from __future__ import annotations

import argparse
import importlib
from typing import Any

from rlt_ros.cli.options import SubParsers, add_command, positive_float, positive_int

BENCHMARKS = {
    "learner": "updates per second at the paper's size, next to torchrl and Stable-Baselines3",
    "replay": "batches per second from the durable ring, next to torchrl's memory-mapped buffer",
    "sim": "simulated seconds per second on one core, with and without cameras",
    "actor": "latency of one decision, from images to chunk",
    "serve": "overhead of the policy server for Genie Sim over the policy",
    "latency": "punctuality of the control loop, and latency from image and human to command",
    "data": "split archives read as streams: memory, and speed next to `cat parts | tar xz`",
    "bag": "replay rebuilt from a recorded bag: equality with the live one, and speed",
    "loop": "replay rows of one process and of the graph for the same episodes: bitwise equality",
    "safety": "commands of every robot with faulty drivers and pushing hands: distance and speed",
    "faults": "`kill -9` of each node during training: lost rows, time to hold, recovery",
}

DRAWING = ("sim", "actor", "loop")
"""Benchmarks that render images."""

EXIT_MISSED = 1
"""Exit status of a failed requirement."""


def add_parser(subparsers: SubParsers) -> None:
    """Add ``bench`` to the command line."""
    lines = "\n".join(f"  {name:<9}{text}" for name, text in BENCHMARKS.items())
    parser = add_command(
        subparsers,
        "bench",
        summary="measure speed next to the best known peers, and robustness of the graph",
        description=f"""\
Speed on this machine. Contenders run interleaved in one process, so other load on the machine
affects all equally. `faults` ends with status {EXIT_MISSED} if a row was lost, the arm did not hold in time, or
training did not continue; `bag` and `loop` if a row differs, and `safety` if a single command is too
far from the arm or too fast.

{lines}""",
        examples="""\
  rlt-ros bench learner
  rlt-ros bench replay --json | tail -n 1
  rlt-ros bench latency --seconds 600 --load 2
  rlt-ros bench safety --steps 100000 --robot ur5e         about a minute
  rlt-ros bench faults --rounds 3                      about 4 minutes per round on 2 cores""",
    )
    parser.add_argument(
        "name", choices=tuple(BENCHMARKS), metavar="|".join(BENCHMARKS), help="benchmark (above)"
    )
    latency = parser.add_argument_group("latency")
    latency.add_argument(
        "--seconds", type=positive_float, default=30.0, help="duration of each part (default: 30)"
    )
    latency.add_argument(
        "--load",
        type=int,
        default=0,
        metavar="N",
        help="processes that keep a core busy meanwhile (default: 0)",
    )
    faults = parser.add_argument_group("faults")
    faults.add_argument(
        "--rounds",
        type=positive_int,
        default=1,
        metavar="N",
        help="kills of each node (default: 1)",
    )
    faults.add_argument(
        "--lock-step",
        action="store_true",
        help="let the simulator wait for every command, as by default in training; the arm then need not hold",
    )
    faults.add_argument(
        "--boundary",
        choices=("overlap", "block"),
        default="overlap",
        help="overlap: the arm moves while the VLA computes the next chunk; block: it waits, as in lock-step "
        "(default: overlap)",
    )
    safety = parser.add_argument_group("safety")
    safety.add_argument(
        "--steps",
        type=positive_int,
        default=100_000,
        metavar="N",
        help="control steps of each robot (default: 100000)",
    )
    safety.add_argument("--robot", default="", help="one robot profile, also for loop (default: all)")
    several = parser.add_argument_group("serve, bag, loop")
    several.add_argument(
        "--episodes",
        type=positive_int,
        metavar="N",
        help="serve: episodes of 200 requests (default: 3); bag: recorded episodes (default: 10); loop: episodes of "
        "each robot, task and seed (default: 2)",
    )
    data = parser.add_argument_group("data")
    data.add_argument(
        "--megabytes",
        type=positive_int,
        default=200,
        metavar="N",
        help="size of all archives together (default: 200)",
    )
    parser.set_defaults(run=run, present=present, status=status)


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Run the benchmark and return its figures."""
    from rlt_ros.sim.opengl import ensure_opengl

    if args.name in DRAWING:
        # Before the import of MuJoCo, which chooses its backend once.
        ensure_opengl()
    benchmark = importlib.import_module(f"rlt_ros.bench.{args.name}")
    options: dict[str, Any] = {}
    if args.name == "latency":
        options = {"seconds": args.seconds, "load": args.load}
    elif args.name == "faults":
        options = {"rounds": args.rounds, "lock_step": args.lock_step, "boundary": args.boundary}
    elif args.name == "safety":
        options = {"steps": args.steps, "robot": args.robot}
    elif args.name in ("serve", "bag") and args.episodes:
        options = {"episodes": args.episodes}
    elif args.name == "loop":
        options = {"robot": args.robot, **({"episodes": args.episodes} if args.episodes else {})}
    elif args.name == "data":
        options = {"megabytes": args.megabytes}
    figures: dict[str, Any] = benchmark.run(**options)
    return figures


def status(result: dict[str, Any]) -> int:
    """Exit status: 1 if a requirement failed."""
    return EXIT_MISSED if result.get("missed") else 0


def present(result: dict[str, Any]) -> None:
    """Print the figures."""
    from rlt_ros.cli.output import print_mapping

    if "faults" in result:
        _present_faults(result)
    elif "safety" in result:
        _present_safety(result)
    elif "loop" in result:
        _present_loop(result)
    else:
        print_mapping(result)


def _present_loop(result: dict[str, Any]) -> None:
    from rlt_ros.cli.output import print_table

    columns = ("robot", "task", "seed", "rows of the graph", "rows of one process", "equal")
    keys = ("robot", "task", "seed", "graph_rows", "rows", "equal_rows")
    rows = [[str(row[key]) for key in keys] for row in result["loop"]]
    print_table(columns, rows, title="rows of the same episodes")
    print("\n".join(f"missed: {text}" for text in result["missed"]) or "every row is equal, bit for bit")


def _present_faults(result: dict[str, Any]) -> None:
    from rlt_ros.cli.output import number, print_table

    columns = (
        "killed",
        "rows",
        "lost",
        "holds",
        "from kill",
        "back",
        "moves",
        "continues",
        "+ rows",
        "+ updates",
    )
    rows = [
        (
            fault["node"],
            f"{fault['rows_before']:,}",
            str(fault["lost_rows"]),
            number(fault["held_ms"], 0, " ms"),
            number(fault["kill_to_hold_ms"], 0, " ms"),
            number(fault["restarted_s"], 1, " s"),
            number(fault["moves_s"], 1, " s"),
            number(fault["goes_on_s"], 1, " s"),
            f"{fault['new_rows']:+,}",
            f"{fault['new_updates']:+,}",
        )
        for fault in result["faults"]
    ]
    mode = "in lock-step" if result["lock_step"] else f"`boundary: {result['boundary']}`"
    print_table(columns, rows, title=f"kill -9 during training, {mode}")
    if in_use := result["policy_in_use_ms"]:
        print(
            f"a new policy is in use after {sum(in_use) / len(in_use):.0f} ms, at most {max(in_use):.0f} ms"
        )
    print("holds: after the last joint state or chunk row; the executor: the last command after the kill")
    print("\n".join(f"missed: {text}" for text in result["missed"]) or "all requirements hold")


def _present_safety(result: dict[str, Any]) -> None:
    from rlt_ros.cli.output import number, print_table

    columns = ("robot", "steps", "commands", "violations", "distance / lead", "speed / limit")
    rows = [
        (
            row["robot"],
            f"{row['steps']:,}",
            f"{row['commands']:,}",
            str(row["violations"]),
            number(row["lead"], 4),
            number(row["speed"], 4),
        )
        for row in result["safety"]
    ]
    print_table(columns, rows, title="commands with faulty drivers")
    print("\n".join(f"violation: {text}" for text in result["missed"]) or "no command breaks the rule")
