"""Random operator, human and policy: the graph's side of ``rlt-ros bench safety``."""

from __future__ import annotations

import contextlib
from collections import deque
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from rlt_ros.acting.chunks import ChunkRefused
from rlt_ros.acting.records import InputRefused
from rlt_ros.replay.stream import ActionChunk, ChunkRequest, EpisodeOutcome, EpisodeState, Phase, StreamError
from rlt_ros.rlt.transition import Source
from rlt_ros.robots.intervention import Intervention, TakeOver
from rlt_ros.robots.safety import Limits
from rlt_ros.store.lineage import Lineage

Array = NDArray[np.float64]

_ROWS = 10
_LINEAGE = Lineage("vla", "token", "stats")


class Commanded(Protocol):
    """Receiver of all inputs: a `Controller`, or an `executor_node` in the graph."""

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
        """Reason to abort the running episode; empty for none."""
        ...

    def episode_state(self, state: EpisodeState) -> None:
        """Accept a state of the episode."""
        ...

    def e_stop(self, pressed: bool) -> None:
        """Set whether any e-stop is pressed."""
        ...

    def hardware_e_stop(self, now: int, pressed: bool = False) -> None:
        """Accept a message of the robot's own e-stop."""
        ...

    def chunk(self, chunk: ActionChunk, stamp: int, now: int) -> None:
        """Accept a chunk."""
        ...

    def intervention(self, human: Intervention, now: int) -> bool:
        """Accept an intervention; return whether it takes over the arm."""
        ...


class RandomGraph:
    """Source of episodes, e-stops, chunks and interventions for a controller.

    Args:
        controller: of the arm.
        rng: random generator.
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
        """Pressed e-stops: button, and power circuit."""
        self.episodes = 0
        """Number of episodes that began."""
        self.starts = 0
        """Number of times that policy or human began to act."""
        self.acts = False
        """Policy or human acts, or did since the arm was relocated."""

    @property
    def runs(self) -> bool:
        """Return whether an episode runs."""
        return self._controller.episode.phase in (Phase.APPROACH, Phase.CRITICAL)

    def step(self, now: int, stamp: int) -> bool:
        """Send the inputs of one period to the controller; return whether a human takes over."""
        self._toggle_e_stops(now)
        self._advance_episode(now, stamp)
        self._send_chunks(now, stamp)
        return self._send_intervention(now, stamp)

    def accept_request(self, request: ChunkRequest, now: int) -> None:
        """Accept a request; its answer follows after 0 to 3 periods, or never."""
        if self._rng.random() < 0.95:
            self._requests.append((now + int(self._rng.integers(0, 4)) * 20_000_000, request))

    def _toggle_e_stops(self, now: int) -> None:
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
            self._begin_to_act()
            self._publish(self.episodes, Phase.RESETTING, stamp)
            self._publish(self.episodes, Phase.APPROACH, stamp)

    def _publish(self, episode: int, phase: Phase, stamp: int) -> None:
        outcome = EpisodeOutcome.ABORTED if phase is Phase.DONE else EpisodeOutcome.NONE
        self._controller.episode_state(EpisodeState(episode, phase, outcome, stamp=stamp))

    def _send_chunks(self, now: int, stamp: int) -> None:
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

    def _send_intervention(self, now: int, stamp: int) -> bool:
        """Send the human's message of this period, if any; return whether it takes over the arm."""
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
                self._begin_to_act(begins=not self._commands)
            self._commands = commands
            return taken_over
        return False

    def _begin_to_act(self, begins: bool = True) -> None:
        self.acts = True
        self.starts += int(begins)
