"""``rlt-ros bench faults``: kill each node of a training graph in turn, and see what is lost and who goes on.

The graph is that of ``rlt-ros launch train`` with a simulated robot, started as anybody starts it, with small settings;
``kill -9`` hits it in the middle of the critical phase, while the actor moves the arm.

What a dead node means for the arm differs. The executor moves it by two inputs, joint states and chunks. When joint
states fall silent (`sim`), it shall hold within 100 ms of the last one. A chunk is accepted and checked as a whole, so
when nobody makes a next one (`perception`, `inference`), the arm may do the rest of it, and with `overlap` one more
that was there already or is made from the last picture; it shall hold within 100 ms of the last row. When the executor
itself is dead, no command may follow within 100 ms, and the robot holds the last one.
The other nodes move nothing.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import yaml

from rlt_ros.bringup import ORDER
from rlt_ros.control.config import BLOCK, OVERLAP
from rlt_ros.experiments.bench.domain import use_own_domain
from rlt_ros.interruption import EXIT_INTERRUPTED
from rlt_ros.rlt.config import RLTConfig
from rlt_ros.rlt.replay import Replay, ReplayFormat
from rlt_ros.rlt.run_folder import REPLAY_FILE
from rlt_ros.rlt.transition import Source
from rlt_ros.robots.profile import load_profile

if TYPE_CHECKING:
    from rlt_ros.nodes.fault_probe import FaultMonitor, ObservedStep

ROBOT = "agibot_g1_geniesim"
NODES = ("sim", "perception", "inference", "executor", "episode", "replay", "learner", "monitor")
HOLD_WITHIN = 100.0  # ms
IN_USE_WITHIN = 100.0  # ms, beyond the chunk that is executed when a new policy comes

_PARAMETERS = {
    "/**": {
        "rlt": {
            "warmup_episodes": 2,
            "warmup_updates": 20,
            "min_rows": 16,
            "min_successes": 0,
            "min_failures": 0,
            "batch_size": 16,
            "hidden": [64, 64],
            "utd": 0.5,
        }
    },
    "/**/sim_node": {"start": "critical", "camera_every": 4},
    "/**/learner_node": {"checkpoint_period": 2.0, "publish_every": 20},
}
"""Small settings, for a busy computer too: what is measured is not what is learned."""

_EARLY = 40  # control steps of the critical phase; an episode that is younger does not end while the arm is watched
_WATCHED = 0.8  # s after a kill in which the arm comes to rest; a dead node needs longer to come back
_BEGIN, _GO_ON, _STOP = 300.0, 200.0, 150.0  # s of patience
_OUTPUT = 3000  # characters of the launch's last words in an error

Rows: TypeAlias = Mapping[tuple[int, int], bytes]
"""Episode and step of a row → digest of what is in it."""


class FaultError(RuntimeError):
    """The graph that shall be hurt does not run."""


@dataclasses.dataclass(frozen=True)
class Held:
    """How the arm came to rest, ms.

    Attributes:
        after_input: from the last input that it moved by.
        after_kill: from the kill.
    """

    after_input: float
    after_kill: float


def run(
    rounds: int = 1,
    lock_step: bool = False,
    nodes: Sequence[str] = NODES,
    policies: int = 20,
    boundary: str = OVERLAP,
) -> dict[str, Any]:
    """Kill nodes and watch.

    Args:
        rounds: how often each is killed.
        lock_step: run the simulator in lock-step, where time stands still with the dead; nothing is to hold there.
        nodes: whom to kill, of :data:`NODES`.
        policies: how many new policies' way into use is measured before the first fault.
        boundary: whether the arm waits for the VLA at the end of a chunk, `block`, or not, `overlap`; lock-step blocks.

    Returns:
        ``faults``: for each kill its ``node``, ``rows_before`` and ``lost_rows``, ``held_ms`` after the last input and
        ``kill_to_hold_ms`` (null where nothing is to hold), ``restarted_s``, ``moves_s`` and ``goes_on_s`` after the
        kill (null where it did not happen) with the ``new_rows`` and ``new_updates`` by then.
        ``policy_in_use_ms``: of policies that came before the first fault, from arrival to first executed step (none in
        lock-step). ``stopped``: exit status of the graph in the end. ``missed``: what is not as it should be, in words.

    Raises:
        FaultError: the graph does not come to learn, or ends by itself.
    """
    use_own_domain()
    boundary = BLOCK if lock_step else boundary
    faults = []
    with (
        tempfile.TemporaryDirectory(prefix="rlt-faults-") as folder,
        _graph(Path(folder), lock_step, boundary) as graph,
    ):
        in_use = [] if lock_step else graph.policies_in_use(policies)
        for node in list(nodes) * rounds:
            faults.append(graph.fault(node))
            print(f"killed {node}: {_in_words(faults[-1])}", file=sys.stderr, flush=True)
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
    """What is not as it should be, in words."""
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
            found.append(f"{node}: training does not go on")
    late = max(result["policy_in_use_ms"], default=0.0)
    if late > chunk + IN_USE_WITHIN:
        found.append(f"a policy was in use {late:.0f} ms after it came")
    if result["stopped"] != EXIT_INTERRUPTED:
        found.append(f"the graph ended with status {result['stopped']}")
    return found


def came_to_rest(
    steps: Sequence[ObservedStep], killed: float, *, sensed: float | None, until: float
) -> Held | None:
    """How the arm came to rest after an input of the executor died; None if it did not.

    Args:
        steps: executed steps, oldest first.
        killed: when, s.
        sensed: when the last joint state came, where these were the input; None where it was chunks: their end is
            when the last row was executed.
        until: s; what moves later does so because the dead one is back.
    """
    before = [step for step in steps if step.arrived < until]
    moving = [step for step in before if step.moves]
    last = moving[-1].arrived if moving else killed
    holding = [step.arrived for step in before if not step.moves and step.arrived >= last]
    if not holding:
        return None
    input_ended = last if sensed is None else sensed
    return Held(1e3 * max(0.0, holding[0] - input_ended), 1e3 * max(0.0, holding[0] - killed))


def lost_rows(before: Rows, after: Rows, *, claimed: int) -> int:
    """How many committed rows are not there any more, or differ.

    Args:
        before: the file's rows before a fault.
        after: those after it.
        claimed: rows that the replay said were committed when the fault happened.
    """
    gone = sum(after.get(key) != digest for key, digest in before.items())
    return max(gone, claimed - len(after), 0)


class _Graph:
    """A training graph and who watches it."""

    def __init__(
        self, launch: subprocess.Popen[bytes], watch: FaultMonitor, out: Path, log: Path, lock_step: bool
    ):
        self._launch, self._watch, self._log = launch, watch, log
        self._replay, self._lock_step = out / REPLAY_FILE, lock_step

    def fault(self, node: str) -> dict[str, Any]:
        """Kill a node and see what becomes of it."""
        watch, probe = self._watch, self._watch.probe
        pid = self._pid(node)
        before = self._rows()
        with watch.punctual():
            killed = self._kill(node, pid)
            rows, updates, begun = probe.rows, probe.critic_steps, probe.begun
            watch.until(lambda: time.monotonic() > killed + _WATCHED, _GO_ON)
        holds = node in ("sim", "perception", "inference", "executor") and not self._lock_step
        held = self._held(node, killed) if holds else None
        restarted = self._when(lambda: self._processes().get(node, pid) != pid, killed)
        probe.steps.clear()
        moves = self._when(lambda: any(step.moves for step in probe.steps), killed)
        goes_on = self._when(
            lambda: (
                probe.over > begun
                and probe.rows > rows
                and probe.critic_steps > updates
                and restarted
                and moves
            ),
            killed,
        )
        return {
            "node": node,
            "holds": holds,
            "rows_before": rows,
            "lost_rows": lost_rows(before, self._rows(), claimed=rows),
            "held_ms": held and held.after_input,
            "kill_to_hold_ms": held and held.after_kill,
            "restarted_s": restarted,
            "moves_s": moves,
            "goes_on_s": goes_on,
            "new_rows": probe.rows - rows,
            "new_updates": probe.critic_steps - updates,
        }

    def wait_until_it_learns(self) -> None:
        """Until the actor acts and the learner learns."""
        probe = self._watch.probe
        probe.on_news = lambda: probe.steps.__delitem__(slice(0, -1000))  # nobody needs older ones yet
        self._until(
            lambda: probe.critic_steps and any(step.source == Source.ACTOR for step in probe.steps),
            "the actor to act",
            _BEGIN,
        )
        probe.on_news = None

    def policies_in_use(self, count: int) -> list[float]:
        """Milliseconds from the arrival of each of some policies to its first executed step."""
        in_use = self._watch.probe.in_use
        in_use.clear()
        with self._watch.punctual():
            self._until(lambda: len(in_use) >= count, "new policies to be used", _GO_ON)
        return [1e3 * seconds for seconds in in_use[:count]]

    def stop(self) -> int:
        """Ask the graph to stop, as Ctrl-C does; returns its exit status."""
        self._launch.send_signal(signal.SIGINT)
        return self._launch.wait(_STOP)

    def _kill(self, node: str, pid: int) -> float:
        """Kill at the worst moment: the replay when it begins to write, all others at the beginning of a chunk."""
        probe, killed = self._watch.probe, list[float]()
        probe.steps.clear()
        over, begun = probe.over, probe.begun

        def strike() -> None:
            now = probe.over > over if node == "replay" else _at_worst_moment(probe.steps, after=begun)
            if now and not killed:
                os.kill(pid, signal.SIGKILL)
                killed.append(time.monotonic())

        probe.on_news = strike
        self._until(lambda: killed, f"a moment to kill {node}", _GO_ON)
        probe.on_news = None
        return killed[0]

    def _held(self, node: str, killed: float) -> Held | None:
        probe = self._watch.probe
        if node == "executor":  # the robot holds what came last
            last = 1e3 * max(0.0, probe.commanded - killed)
            return Held(last, last)
        sensed = probe.sensed if node == "sim" else None
        return came_to_rest(probe.steps, killed, sensed=sensed, until=killed + _WATCHED)

    def _when(self, condition: Any, killed: float) -> float | None:
        """Seconds from the kill until something is so; None if it does not come true."""
        return time.monotonic() - killed if self._watch.until(self._alive(condition), _GO_ON) else None

    def _until(self, condition: Any, what: str, patience: float) -> None:
        if not self._watch.until(self._alive(condition), patience):
            raise FaultError(f"waited in vain for {what}; the graph says:\n{self._said()}")

    def _alive(self, condition: Any) -> Any:
        def alive() -> Any:
            if self._launch.poll() is not None:
                raise FaultError(f"the graph ended by itself; it says:\n{self._said()}")
            return condition()

        return alive

    def _said(self) -> str:
        return self._log.read_text(errors="replace")[-_OUTPUT:]

    def _pid(self, node: str) -> int:
        self._until(lambda: node in self._processes(), f"the process of {node}", _GO_ON)
        return self._processes()[node]

    def _processes(self) -> dict[str, int]:
        """Node, without the `_node` of its name → process id, of those that the launch has started."""
        found, launch = {}, self._launch.pid
        for text in Path(f"/proc/{launch}/task/{launch}/children").read_text().split():
            with contextlib.suppress(OSError):  # it has ended since
                words = Path(f"/proc/{text}/cmdline").read_bytes().decode().split("\0")
                found.update({word.removesuffix("_node"): int(text) for word in words if word in ORDER})
        return found

    def _rows(self) -> Rows:
        """What the replay's file holds now, read from the file itself."""
        found = ReplayFormat.read(self._replay)
        replay = Replay.attach(self._replay, found.shapes, lineage=found.lineage)
        try:
            return dict(_rows(replay))
        finally:
            replay.close()


def _rows(replay: Replay) -> Iterator[tuple[tuple[int, int], bytes]]:
    for index in range(len(replay)):
        window = replay.window(index)
        digest = hashlib.sha256()
        for field in dataclasses.fields(window):
            digest.update(np.asarray(getattr(window, field.name)).tobytes())
        yield (window.episode, window.step), digest.digest()


def _at_worst_moment(steps: Sequence[ObservedStep], *, after: int) -> bool:
    """Return whether a chunk of the actor has just begun, early in an episode that is later than the one named."""
    newest = steps[-1] if steps else None
    if newest is None or newest.source != Source.ACTOR or newest.row > 1 or newest.episode <= after:
        return False
    first = next(
        step.step for step in steps if step.episode == newest.episode and step.source == Source.ACTOR
    )
    return newest.step - first <= _EARLY


@contextlib.contextmanager
def _graph(folder: Path, lock_step: bool, boundary: str) -> Iterator[_Graph]:
    """Start a graph that learns, and end it in any case."""
    from rlt_ros.nodes.fault_probe import FaultMonitor

    settings, out, log = folder / "settings.yaml", folder / "run", folder / "log"
    parameters = {**_PARAMETERS, "/**/executor_node": {"boundary": boundary}}
    settings.write_text(
        yaml.safe_dump({who: {"ros__parameters": values} for who, values in parameters.items()})
    )
    options = {
        "robot": ROBOT,
        "lock-step": str(lock_step).lower(),
        "teleop": "none",
        "params-file": settings,
        "robot-minutes": 0,  # without end
        "eval-episodes": 0,
        "out": out,
    }
    words = [str(word) for name, value in options.items() for word in (f"--{name}", value)]
    command = [sys.executable, "-m", "rlt_ros.cli.main", "launch", "train", *words]
    with log.open("wb") as output:
        launch = subprocess.Popen(command, stdout=output, stderr=output)
    watch = None
    try:
        watch = FaultMonitor(load_profile(ROBOT))
        graph = _Graph(launch, watch, out, log, lock_step)
        graph.wait_until_it_learns()
        yield graph
    finally:
        if watch is not None:
            watch.close()
        launch.kill()  # its nodes end with it
        launch.wait()


def _in_words(fault: Mapping[str, Any]) -> str:
    held = (
        ""
        if fault["held_ms"] is None
        else f"holds after {fault['held_ms']:.0f} ms ({fault['kill_to_hold_ms']:.0f} ms from the kill), "
    )
    goes_on = fault["goes_on_s"]
    after = "does not go on" if goes_on is None else f"goes on after {goes_on:.1f} s"
    return f"{held}{fault['lost_rows']} rows lost, {after}"
