"""Operator, human and policy that do anything at any time: the graph's side of ``rlt-ros bench safety``."""

from __future__ import annotations

import contextlib
from collections import deque
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from rlt_ros.control.chunks import ChunkRefused
from rlt_ros.control.records import InputRefused
from rlt_ros.rlt.lineage import Lineage
from rlt_ros.rlt.stream import ActionChunk, ChunkRequest, Ending, EpisodeState, Phase, StreamError
from rlt_ros.rlt.transition import Source
from rlt_ros.robots.intervention import Intervention, TakeOver
from rlt_ros.robots.safety import Limits

Array = NDArray[np.float64]

_ROWS = 10
_LINEAGE = Lineage("vla", "token", "stats")


class Commanded(Protocol):
    """Receiver of everything: a `Controller`, or an `executor_node` at the other end of the graph."""

    @property
    def limits(self) -> Limits:
        """Limits of the arm."""
        ...

    @property
    def measured(self) -> Array | None:
        """Newest positions (A,) rad of the arm; None before the first."""
        ...

    @property
    def episode(self) -> EpisodeState:
        """Newest state of the episode."""
        ...

    def abort_reason(self, now: int) -> str:
        """Reason for which the running episode must be aborted; empty for none."""
        ...

    def episode_state(self, state: EpisodeState) -> None:
        """Take in a state of the episode."""
        ...

    def e_stop(self, pressed: bool) -> None:
        """Take in whether any e-stop is pressed."""
        ...

    def hardware_e_stop(self, now: int, pressed: bool = False) -> None:
        """Take in a message of the robot's own e-stop."""
        ...

    def chunk(self, chunk: ActionChunk, stamp: int, now: int) -> None:
        """Take in a chunk."""
        ...

    def intervention(self, human: Intervention, now: int) -> bool:
        """Take in the human's command; returns whether it is a take-over."""
        ...


class RandomGraph:
    """Sends episodes, e-stops, chunks and a human's commands to a controller.

    Args:
        controller: of the arm.
        rng: source of all chance.
    """

    def __init__(self, controller: Commanded, rng: np.random.Generator) -> None:
        self._controller, self._rng = controller, rng
        self._chunks = 0
        self._requests: deque[tuple[int, ChunkRequest]] = deque()
        self._human = TakeOver.RELEASED
        # The newest message of the human was a command.
        self._commands = False
        self._steady = np.zeros(controller.limits.dim)
        self.button = self.circuit = False
        """E-stops that are pressed."""
        self.episodes = 0
        """Episodes that began."""
        self.words = 0
        """How often somebody began to act."""
        self.acts = False
        """Somebody acts, or did since the arm was relocated."""

    @property
    def runs(self) -> bool:
        """Return whether an episode runs."""
        return self._controller.episode.phase in (Phase.APPROACH, Phase.CRITICAL)

    def step(self, now: int, stamp: int) -> bool:
        """Everything that reaches the controller in one period; returns whether a human takes over just now."""
        self._stop(now)
        self._advance_episode(now, stamp)
        self._answer(now, stamp)
        return self._command(now, stamp)

    def ask(self, request: ChunkRequest, now: int) -> None:
        """Take in a request; its answer comes after 0 to 3 periods, or never."""
        if self._rng.random() < 0.95:
            self._requests.append((now + int(self._rng.integers(0, 4)) * 20_000_000, request))

    def _stop(self, now: int) -> None:
        rng = self._rng
        if rng.random() < (0.02 if self.button else 0.003):
            self.button = not self.button
        if rng.random() < (0.02 if self.circuit else 0.003):
            self.circuit = not self.circuit
            self._controller.hardware_e_stop(now, self.circuit)
        self._controller.e_stop(self.button or self.circuit)

    def _advance_episode(self, now: int, stamp: int) -> None:
        rng, state = self._rng, self._controller.episode
        if self._controller.abort_reason(now) and rng.random() < 0.3:
            self._publish(state.episode, Phase.DONE, stamp)
        elif self.runs and rng.random() < 0.01:
            critical = state.phase is Phase.APPROACH and rng.random() < 0.7
            self._publish(state.episode, Phase.CRITICAL if critical else Phase.DONE, stamp)
        elif not self.runs and rng.random() < 0.03:
            self.episodes += 1
            self._act()
            self._publish(self.episodes, Phase.RESETTING, stamp)
            self._publish(self.episodes, Phase.APPROACH, stamp)

    def _publish(self, episode: int, phase: Phase, stamp: int) -> None:
        ending = Ending.ABORTED if phase is Phase.DONE else Ending.NONE
        self._controller.episode_state(EpisodeState(episode, phase, ending, stamp=stamp))

    def _answer(self, now: int, stamp: int) -> None:
        while self._requests and self._requests[0][0] <= now:
            _, request = self._requests.popleft()
            with contextlib.suppress(ChunkRefused, StreamError):
                self._controller.chunk(self._chunk(request, stamp), stamp, now)

    def _chunk(self, request: ChunkRequest, stamp: int) -> ActionChunk:
        rng, dim = self._rng, self._controller.limits.dim
        measured = self._controller.measured
        assert measured is not None
        wild = float(rng.choice([1.0, 1.0, 1.0, 30.0, 1e6, np.nan]))
        action = (wild * rng.normal(0.0, 1.0, (_ROWS, dim))).astype(np.float32)
        anchor = measured + rng.normal(0.0, 1.0, dim) * (rng.random() < 0.1)
        self._chunks += 1
        actor = request.phase is Phase.CRITICAL and rng.random() < 0.7
        return ActionChunk(
            stamp=stamp,
            episode=request.episode,
            chunk=self._chunks,
            step=request.step,
            source=Source.ACTOR if actor else Source.VLA,
            anchor=anchor.astype(np.float32),
            scale=np.full(dim, rng.uniform(0.005, 0.2), np.float32),
            reference=action,
            action=action,
            lineage=_LINEAGE,
        )

    def _command(self, now: int, stamp: int) -> bool:
        """The human's message of this period, if there is one; returns whether it is a take-over."""
        rng, before = self._rng, self._human
        if rng.random() < (0.01 if before is TakeOver.RELEASED else 0.03):
            self._human = TakeOver(int(rng.integers(len(TakeOver))))
        measured = self._controller.measured
        silent = before is TakeOver.RELEASED and self._human is TakeOver.RELEASED
        if silent or measured is None or rng.random() < 0.05:
            return False
        if not before.commands:
            self._steady = rng.normal(0.0, 0.5, len(measured))
        target = measured + (self._steady if rng.random() < 0.9 else rng.normal(0.0, 100.0, len(measured)))
        commands = self._human.commands
        share = rng.random() if self._human is TakeOver.BLENDING else float(commands)
        with contextlib.suppress(InputRefused):
            human = Intervention(self._human, share, target if commands else np.zeros(0), "random", stamp)
            taken_over = self._controller.intervention(human, now)
            if commands:
                self._act(begins=not self._commands)
            self._commands = commands
            return taken_over
        return False

    def _act(self, begins: bool = True) -> None:
        self.acts = True
        self.words += int(begins)
