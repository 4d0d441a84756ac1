"""The executed stream as it passes between processes: states, chunks, steps, episodes, and what made them.

A message holds the same fields; here they have types, shapes and meaning. What a record says of itself is checked when
it is made, so that nothing behind the border has to doubt it.
"""

from __future__ import annotations

import dataclasses
import enum
from typing import Any

import numpy as np

from rlt_ros.rlt.lineage import Lineage
from rlt_ros.rlt.transition import ExecutedStep, FloatArray, RLState, Source

_NOTHING = Lineage()


class StreamError(ValueError):
    """A record that contradicts itself. The message names thing, value and what was expected."""


class Phase(enum.IntEnum):
    """Where an episode is; the numbers are those of ``EpisodeState.msg``."""

    IDLE = 0
    RESETTING = 1
    APPROACH = 2
    CRITICAL = 3
    DONE = 4


class Ending(enum.IntEnum):
    """How an episode ended; the numbers are those of ``EpisodeState.msg``."""

    NONE = 0
    SUCCESS = 1
    FAILURE = 2
    TIMEOUT = 3
    ABORTED = 4

    @property
    def terminated(self) -> bool:
        """Return whether nothing comes after it; time-out and abort cut an episode that would have gone on."""
        return self in (Ending.SUCCESS, Ending.FAILURE)


@dataclasses.dataclass(frozen=True)
class EpisodeState:
    """Where the episode is.

    Attributes:
        episode: id, unique within a replay, from 1; 0 before the first.
        phase: of the episode.
        ending: how it ended; NONE unless it is DONE.
        discarded: it was withdrawn for re-recording; its rows are dropped.
        eval: mean action, nothing is stored.
        task: name of the task.
        instruction: what the VLA is told.
        seed: of the conditions and of all noise, in simulation.
        reward: for the last executed step, when it is DONE.
        steps: control steps of the critical phase so far.
        stamp: when it changed, ns.
    """

    episode: int
    phase: Phase
    ending: Ending = Ending.NONE
    discarded: bool = False
    eval: bool = False
    task: str = ""
    instruction: str = ""
    seed: int = 0
    reward: float = 0.0
    steps: int = 0
    stamp: int = 0

    def __post_init__(self) -> None:
        """Raise :class:`StreamError` unless phase, ending and reward agree."""
        name = f"state of episode {self.episode}"
        if (self.phase is Phase.DONE) != (self.ending is not Ending.NONE):
            raise StreamError(f"{name} has phase {self.phase.name} and outcome {self.ending.name}")
        if not np.isfinite(self.reward):
            raise StreamError(f"`reward` in the {name} is {self.reward}; give a finite number")


@dataclasses.dataclass(frozen=True)
class StateRecord:
    """One RL state of an episode.

    Attributes:
        stamp: of the observation that it was computed from, ns.
        episode: id.
        lineage: frozen parts that made it.
        state: what the policy knew, with its control step.
        scale: (A,) one policy unit of each joint, rad.
    """

    stamp: int
    episode: int
    lineage: Lineage
    state: RLState
    scale: FloatArray

    def __post_init__(self) -> None:
        """Raise :class:`StreamError` unless all numbers are finite."""
        state = self.state
        name = f"state of step {state.step} of episode {self.episode}"
        _require_finite(
            name, z=state.z, proprio=state.proprio, reference=state.reference, anchor=state.anchor
        )
        _require_scale(name, self.scale, state.anchor)


@dataclasses.dataclass(frozen=True)
class StepRecord:
    """One control step as it happened, with where its command came from.

    Attributes:
        stamp: when the command was sent, ns.
        episode: id.
        step: control step, counted without gaps from 0.
        source: who chose the command.
        command: (A,) absolute joint target that was sent, rad.
        measured: (A,) joint positions when it was sent, rad.
        chunk, row: chunk that the command was taken from, and which row of it; 0 where a human or hold acted.
        observation: stamp of the observation behind the chunk, ns; 0 without one.
        version: of the policy behind the chunk.
        lineage: parts behind the chunk.
        limits: bits of the limits that changed the command, ``LIMIT_*`` of ``ExecutedStep.msg``.
        reward: of this step; that of the episode's end comes with :class:`EpisodeState`.
    """

    stamp: int
    episode: int
    step: int
    source: Source
    command: FloatArray
    measured: FloatArray
    chunk: int = 0
    row: int = 0
    observation: int = 0
    version: int = 0
    lineage: Lineage = _NOTHING
    limits: int = 0
    reward: float = 0.0

    def __post_init__(self) -> None:
        """Raise :class:`StreamError` unless command and measurement are (A,) and finite, and so the reward."""
        name = f"step {self.step} of episode {self.episode}"
        if self.command.ndim != 1 or self.command.shape != self.measured.shape:
            raise StreamError(
                f"{name} has command {self.command.shape} and measured {self.measured.shape}; both must be (A,)"
            )
        _require_finite(
            name, command=self.command, measured=self.measured, reward=np.array(self.reward, np.float32)
        )

    @property
    def executed(self) -> ExecutedStep:
        """What windows are built from."""
        return ExecutedStep(self.step, self.command, self.source, self.reward)


@dataclasses.dataclass(frozen=True)
class ChunkRequest:
    """A chunk that the executor needs.

    Attributes:
        stamp: of the joint state that it was asked for at, ns; the answer is from what was seen then.
        episode: id.
        step: control step that the chunk is needed for.
        phase: APPROACH or CRITICAL.
        overlap: the arm goes on meanwhile; otherwise it waits.
        expected: (A,) rad, where the arm will be at that step; None where it is there.
    """

    stamp: int
    episode: int
    step: int
    phase: Phase
    overlap: bool = False
    expected: np.ndarray[Any, np.dtype[np.float64]] | None = None

    def same(self, other: ChunkRequest) -> bool:
        """Return whether both ask for the same chunk, perhaps at another time."""
        return (self.episode, self.step, self.phase) == (other.episode, other.step, other.phase)


@dataclasses.dataclass(frozen=True)
class ActionChunk:
    """C control steps to execute: what was chosen, beside what the VLA proposed.

    Attributes:
        stamp: of the observation that it was computed from, ns.
        episode: id.
        chunk: id, rising by 1 from 1 within a run of the inference.
        step: control step that the first row is meant for.
        source: VLA or ACTOR.
        anchor: (A,) joint positions that the actions are relative to, rad.
        scale: (A,) rad of one policy unit, above 0.
        reference: (C, A) the VLA's proposal, policy units.
        action: (C, A) what shall be executed, policy units.
        version: of the policy that acted; 0 where the VLA did.
        lineage: all parts that made it.
        latency: from the observation's arrival to the chunk, ns.
    """

    stamp: int
    episode: int
    chunk: int
    step: int
    source: Source
    anchor: FloatArray
    scale: FloatArray
    reference: FloatArray
    action: FloatArray
    version: int = 0
    lineage: Lineage = _NOTHING
    latency: int = 0

    def __post_init__(self) -> None:
        """Raise :class:`StreamError` unless the shapes agree and all numbers are finite."""
        name = f"chunk {self.chunk} for step {self.step} of episode {self.episode}"
        if self.source not in (Source.VLA, Source.ACTOR):
            raise StreamError(f"{name} is from {self.source.name}; only VLA and ACTOR make chunks")
        if self.anchor.ndim != 1 or self.action.ndim != 2 or len(self.action) < 1:
            raise StreamError(
                f"{name} has anchor {self.anchor.shape} and action {self.action.shape}; expected (A,) and (C, A)"
            )
        if self.action.shape[1:] != self.anchor.shape or self.reference.shape != self.action.shape:
            raise StreamError(
                f"{name} has anchor {self.anchor.shape}, action {self.action.shape} and reference "
                f"{self.reference.shape}; expected (A,), (C, A) and (C, A)"
            )
        _require_scale(name, self.scale, self.anchor)
        _require_finite(name, anchor=self.anchor, reference=self.reference, action=self.action)


def _require_scale(name: str, scale: FloatArray, anchor: FloatArray) -> None:
    if scale.shape != anchor.shape or not np.isfinite(scale).all() or not (scale > 0).all():
        raise StreamError(f"`scale` of {name} is {scale}; expected {anchor.shape}, finite and positive")


def _require_finite(name: str, **arrays: Any) -> None:
    for field, array in arrays.items():
        if not np.isfinite(array).all():
            raise StreamError(f"`{field}` of {name} is not finite; check its source")
