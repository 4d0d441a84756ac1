"""``rlt-ros bench faults``: kill each node of a training graph in turn; measure losses, hold and recovery.

The graph is that of ``rlt-ros launch train`` with a simulated robot and small settings. ``kill -9`` is sent in the
middle of the critical phase, while the actor moves the arm.

The required reaction depends on the node. The executor moves the arm by two inputs, joint states and chunks. Without
joint states (`sim`), it must hold within 100 ms of the last one. A chunk is accepted as a whole, so without a next one
(`perception`, `inference`) the arm may execute the rest of it, and with `overlap` one more that had arrived or is
computed from the last image; it must hold within 100 ms of the last row. Without the executor, no command may follow
after 100 ms, and the robot holds the last one. The other nodes do not affect the arm.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rlt_ros.acting.config import BLOCK, OVERLAP
from rlt_ros.bench.domain import use_own_domain
from rlt_ros.bench.training_graph import ROBOT, training_graph
from rlt_ros.rlt.config import RLTConfig
from rlt_ros.robots.profile import load_profile
from rlt_ros.store.interruption import EXIT_INTERRUPTED

NODES = ("sim", "perception", "inference", "executor", "episode", "replay", "learner", "monitor")
# ms from the last input to the hold.
HOLD_WITHIN = 100.0
# ms from a new policy to its first step, beyond the current chunk.
IN_USE_WITHIN = 100.0


def run(
    rounds: int = 1,
    lock_step: bool = False,
    nodes: Sequence[str] = NODES,
    policies: int = 20,
    boundary: str = OVERLAP,
) -> dict[str, Any]:
    """Kill nodes of a training graph and measure its reaction.

    Args:
        rounds: number of kills of each node.
        lock_step: run the simulator in lock-step, where time stands still without a node, so the arm need not hold.
        nodes: to kill, of :data:`NODES`.
        policies: number of new policies of which the time to use is measured before the first fault.
        boundary: `block`, the arm waits for the VLA at the end of a chunk, or `overlap`; lock-step blocks.

    Returns:
        ``faults``: for each kill its ``node``, ``rows_before`` and ``lost_rows``, ``held_ms`` after the last input and
        ``kill_to_hold_ms`` (null if the arm need not hold), ``restarted_s``, ``moves_s`` and ``goes_on_s`` after the
        kill (null if it did not happen) with the ``new_rows`` and ``new_updates`` by then.
        ``policy_in_use_ms``: of policies before the first fault, from arrival to first executed step (none in
        lock-step). ``stopped``: exit status of the graph. ``missed``: failed requirements, one sentence each.

    Raises:
        FaultError: the graph does not begin to learn, or ends by itself.
    """
    use_own_domain()
    boundary = BLOCK if lock_step else boundary
    faults = []
    with (
        tempfile.TemporaryDirectory(prefix="rlt-faults-") as folder,
        training_graph(Path(folder), lock_step, boundary) as graph,
    ):
        in_use = [] if lock_step else graph.policies_in_use(policies)
        for node in list(nodes) * rounds:
            faults.append(graph.fault(node))
            print(f"killed {node}: {_summary(faults[-1])}", file=sys.stderr, flush=True)
        stopped = graph.stop()
    result = {
        "lock_step": lock_step,
        "boundary": boundary,
        "rounds": rounds,
        "faults": faults,
        "policy_in_use_ms": in_use,
        "stopped": stopped,
    }
    return {**result, "missed": missed(result)}


def missed(result: Mapping[str, Any]) -> list[str]:
    """Failed requirements, one sentence each."""
    chunk = 1e3 * RLTConfig().chunk / load_profile(ROBOT).control_hz
    planned = 2 * chunk if result["boundary"] == OVERLAP else chunk
    found = []
    for fault in result["faults"]:
        node, held, since_kill = fault["node"], fault["held_ms"], fault["kill_to_hold_ms"]
        if fault["lost_rows"]:
            found.append(f"{node}: {fault['lost_rows']} committed rows are lost")
        if fault["holds"] and held is None:
            found.append(f"{node}: the arm does not hold")
        elif fault["holds"] and (held > HOLD_WITHIN or since_kill > HOLD_WITHIN + planned):
            found.append(
                f"{node}: the arm holds {held:.0f} ms after its last input and {since_kill:.0f} ms after the kill"
            )
        if fault["goes_on_s"] is None:
            found.append(f"{node}: training does not continue")
    late = max(result["policy_in_use_ms"], default=0.0)
    if late > chunk + IN_USE_WITHIN:
        found.append(f"a policy was in use {late:.0f} ms after its arrival")
    if result["stopped"] != EXIT_INTERRUPTED:
        found.append(f"the graph ended with status {result['stopped']}")
    return found


def _summary(fault: Mapping[str, Any]) -> str:
    held = (
        ""
        if fault["held_ms"] is None
        else f"holds after {fault['held_ms']:.0f} ms ({fault['kill_to_hold_ms']:.0f} ms from the kill), "
    )
    goes_on = fault["goes_on_s"]
    after = "does not continue" if goes_on is None else f"continues after {goes_on:.1f} s"
    return f"{held}{fault['lost_rows']} rows lost, {after}"
