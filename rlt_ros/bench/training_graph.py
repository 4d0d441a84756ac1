"""Training graph for ``rlt-ros bench faults``: start, kills of its nodes, and its reaction."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import yaml

from rlt_ros.bringup import ORDER
from rlt_ros.learning.run_folder import REPLAY_FILE
from rlt_ros.replay.ring import Replay, ReplayFormat
from rlt_ros.rlt.transition import Source
from rlt_ros.robots.profile import load_profile

if TYPE_CHECKING:
    from rlt_ros.bench.fault_probe import FaultMonitor, ObservedStep

ROBOT = "agibot_g1_geniesim"

# Small settings, also for a busy computer; the learned policy is not measured.
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
# Control steps of the critical phase; a younger episode does not end within `_HOLD_DURATION`.
_MAX_EPISODE_STEPS = 40
# s after a kill in which the arm must come to rest; a node needs longer to restart.
_HOLD_DURATION = 0.8
# s, time-outs of start, recovery and stop.
_START_TIMEOUT, _RECOVERY_TIMEOUT, _STOP_TIMEOUT = 300.0, 200.0, 150.0
# Characters of the launch's last output in an error.
_OUTPUT_LENGTH = 3000

Rows: TypeAlias = Mapping[tuple[int, int], bytes]
"""Episode and step of a row → digest of its fields."""


class FaultError(RuntimeError):
    """Training graph that does not run."""


@dataclasses.dataclass(frozen=True)
class Held:
    """Time until the arm held, ms.

    Attributes:
        after_input: from the last input.
        after_kill: from the kill.
    """

    after_input: float
    after_kill: float


def time_to_hold(
    steps: Sequence[ObservedStep], killed: float, *, sensed: float | None, until: float
) -> Held | None:
    """Time until the arm held after the kill of an input of the executor; None if it did not hold.

    Args:
        steps: executed steps, oldest first.
        killed: time of the kill, s.
        sensed: arrival of the last joint state, s, if these were the input; None for chunks, which end with the last
            executed row.
        until: s; later motion is due to the restarted node.
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
    """Number of committed rows that are missing or differ.

    Args:
        before: rows of the file before a fault.
        after: rows of the file after it.
        claimed: committed rows in the last status of the replay before the fault.
    """
    gone = sum(after.get(key) != digest for key, digest in before.items())
    return max(gone, claimed - len(after), 0)


class TrainingGraph:
    """Running training graph and its probe."""

    def __init__(
        self, launch: subprocess.Popen[bytes], watch: FaultMonitor, out: Path, log: Path, lock_step: bool
    ):
        self._launch, self._watch, self._log = launch, watch, log
        self._replay, self._lock_step = out / REPLAY_FILE, lock_step

    def fault(self, node: str) -> dict[str, Any]:
        """Kill a node; return the figures of the reaction."""
        watch, probe = self._watch, self._watch.probe
        pid = self._pid(node)
        before = self._rows()
        with watch.realtime():
            killed = self._kill(node, pid)
            rows, updates, begun = probe.rows, probe.critic_steps, probe.begun
            watch.spin_until(lambda: time.monotonic() > killed + _HOLD_DURATION, _RECOVERY_TIMEOUT)
        holds = node in ("sim", "perception", "inference", "executor") and not self._lock_step
        held = self._held(node, killed) if holds else None
        restarted = self._seconds_until(lambda: self._processes().get(node, pid) != pid, killed)
        probe.steps.clear()
        moves = self._seconds_until(lambda: any(step.moves for step in probe.steps), killed)
        goes_on = self._seconds_until(
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
        """Wait until the actor acts and the learner learns."""
        probe = self._watch.probe
        # Older steps are of no use yet.
        probe.on_update = lambda: probe.steps.__delitem__(slice(0, -1000))
        self._until(
            lambda: probe.critic_steps and any(step.source == Source.ACTOR for step in probe.steps),
            "step of the actor",
            _START_TIMEOUT,
        )
        probe.on_update = None

    def policies_in_use(self, count: int) -> list[float]:
        """Times, ms, from the arrival of each of `count` policies to its first executed step."""
        in_use = self._watch.probe.in_use
        in_use.clear()
        with self._watch.realtime():
            self._until(lambda: len(in_use) >= count, "use of new policies", _RECOVERY_TIMEOUT)
        return [1e3 * seconds for seconds in in_use[:count]]

    def stop(self) -> int:
        """Interrupt the graph like Ctrl-C; return its exit status."""
        self._launch.send_signal(signal.SIGINT)
        return self._launch.wait(_STOP_TIMEOUT)

    def _kill(self, node: str, pid: int) -> float:
        """Kill at the critical moment: the replay when it begins to write, all others at the start of a chunk."""
        probe, killed = self._watch.probe, list[float]()
        probe.steps.clear()
        over, begun = probe.over, probe.begun

        def strike() -> None:
            now = probe.over > over if node == "replay" else _is_critical_moment(probe.steps, after=begun)
            if now and not killed:
                os.kill(pid, signal.SIGKILL)
                killed.append(time.monotonic())

        probe.on_update = strike
        self._until(lambda: killed, f"moment to kill {node}", _RECOVERY_TIMEOUT)
        probe.on_update = None
        return killed[0]

    def _held(self, node: str, killed: float) -> Held | None:
        probe = self._watch.probe
        if node == "executor":
            # The robot holds the last command.
            last = 1e3 * max(0.0, probe.commanded - killed)
            return Held(last, last)
        sensed = probe.sensed if node == "sim" else None
        return time_to_hold(probe.steps, killed, sensed=sensed, until=killed + _HOLD_DURATION)

    def _seconds_until(self, condition: Any, killed: float) -> float | None:
        """Seconds from the kill until a condition holds; None after the time-out."""
        return (
            time.monotonic() - killed
            if self._watch.spin_until(self._alive(condition), _RECOVERY_TIMEOUT)
            else None
        )

    def _until(self, condition: Any, event: str, timeout: float) -> None:
        if not self._watch.spin_until(self._alive(condition), timeout):
            raise FaultError(f"no {event} within {timeout:.0f} s; output of the graph:\n{self._output()}")

    def _alive(self, condition: Any) -> Any:
        def alive() -> Any:
            if self._launch.poll() is not None:
                raise FaultError(f"the graph ended by itself; its output:\n{self._output()}")
            return condition()

        return alive

    def _output(self) -> str:
        return self._log.read_text(errors="replace")[-_OUTPUT_LENGTH:]

    def _pid(self, node: str) -> int:
        self._until(lambda: node in self._processes(), f"process of {node}", _RECOVERY_TIMEOUT)
        return self._processes()[node]

    def _processes(self) -> dict[str, int]:
        """Node without the suffix `_node` → process id, of all children of the launch."""
        found, launch = {}, self._launch.pid
        for text in Path(f"/proc/{launch}/task/{launch}/children").read_text().split():
            # A child may have ended.
            with contextlib.suppress(OSError):
                words = Path(f"/proc/{text}/cmdline").read_bytes().decode().split("\0")
                found.update({word.removesuffix("_node"): int(text) for word in words if word in ORDER})
        return found

    def _rows(self) -> Rows:
        """Rows of the replay, read from its file."""
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


def _is_critical_moment(steps: Sequence[ObservedStep], *, after: int) -> bool:
    """Return whether a chunk of the actor has just begun, early in an episode later than `after`."""
    newest = steps[-1] if steps else None
    if newest is None or newest.source != Source.ACTOR or newest.row > 1 or newest.episode <= after:
        return False
    first = next(
        step.step for step in steps if step.episode == newest.episode and step.source == Source.ACTOR
    )
    return newest.step - first <= _MAX_EPISODE_STEPS


@contextlib.contextmanager
def training_graph(folder: Path, lock_step: bool, boundary: str) -> Iterator[TrainingGraph]:
    """Start a training graph; stop it at the end of the context."""
    from rlt_ros.bench.fault_probe import FaultMonitor

    settings, out, log = folder / "settings.yaml", folder / "run", folder / "log"
    parameters = {**_PARAMETERS, "/**/executor_node": {"boundary": boundary}}
    settings.write_text(
        yaml.safe_dump({node: {"ros__parameters": values} for node, values in parameters.items()})
    )
    options = {
        "robot": ROBOT,
        "lock-step": str(lock_step).lower(),
        "teleop": "none",
        "params-file": settings,
        # Unlimited.
        "robot-minutes": 0,
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
        graph = TrainingGraph(launch, watch, out, log, lock_step)
        graph.wait_until_it_learns()
        yield graph
    finally:
        if watch is not None:
            watch.close()
        # Its nodes end with it.
        launch.kill()
        launch.wait()
