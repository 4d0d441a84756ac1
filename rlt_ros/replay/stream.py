"""Records of the executed stream between processes: states, chunks, steps and episodes, with their lineage.

Fields are those of the messages, with types, shapes and meaning. A record checks itself on construction, so code behind
the message border needs no further checks.
"""

from __future__ import annotations

import dataclasses
import enum
from typing import Any

import numpy as np

from rlt_ros.rlt.transition import ExecutedStep, FloatArray, RLState, Source
from rlt_ros.store.lineage import Lineage

_NOTHING = Lineage()


class StreamError(ValueError):
    """Inconsistent record. The message names record, value and expected value."""


class Phase(enum.IntEnum):
    """Phase of an episode, with the numbers of ``EpisodeState.msg``."""

    IDLE = 0
    RESETTING = 1
    APPROACH = 2
    CRITICAL = 3
    DONE = 4


class EpisodeOutcome(enum.IntEnum):
    """Outcome of an episode, with the numbers of ``EpisodeState.msg``."""

    NONE = 0
    SUCCESS = 1
    FAILURE = 2
    TIMEOUT = 3
    ABORTED = 4

    @property
    def terminated(self) -> bool:
        """True for a terminal state; time-out and abort truncate an episode that could have continued."""
        return self in (EpisodeOutcome.SUCCESS, EpisodeOutcome.FAILURE)

    @property
    def word(self) -> str:
        """Word of the outcome in ``episodes.jsonl``."""
        return self.name.lower()


@dataclasses.dataclass(frozen=True)
class EpisodeState:
    """State of an episode.

    Attributes:
        episode: id, unique within a replay, from 1; 0 before the first.
        phase: current phase.
        outcome: outcome; NONE before phase DONE.
        discarded: True if the episode was withdrawn for re-recording; its rows are dropped.
        eval: True for an evaluation: mean action, no rows.
        task: name of the task.
        instruction: instruction of the VLA.
        seed: seed of conditions and noise, in simulation.
        reward: reward of the last executed step, in phase DONE.
        steps: control steps of the critical phase so far.
        stamp: time of the last change, ns.
    """

    episode: int
    phase: Phase
    outcome: EpisodeOutcome = EpisodeOutcome.NONE
    discarded: bool = False
    eval: bool = False
    task: str = ""
    instruction: str = ""
    seed: int = 0
    reward: float = 0.0
    steps: int = 0
    stamp: int = 0

    def __post_init__(self) -> None:
        """Raise :class:`StreamError` unless phase, outcome and reward agree."""
        name = f"state of episode {self.episode}"
        if (self.phase is Phase.DONE) != (self.outcome is not EpisodeOutcome.NONE):
            raise StreamError(f"{name} has phase {self.phase.name} and outcome {self.outcome.name}")
        if not np.isfinite(self.reward):
            raise StreamError(f"`reward` in the {name} is {self.reward}; give a finite number")


@dataclasses.dataclass(frozen=True)
class StateRecord:
    """One RL state of an episode.

    Attributes:
        stamp: stamp of its observation, ns.
        episode: id.
        lineage: frozen parts that computed it.
        state: input of the policy, with its control step.
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
    """Executed control step with the origin of its command.

    Attributes:
        stamp: time of sending the command, ns.
        episode: id.
        step: control step, counted without gaps from 0.
        source: source of the command.
        command: (A,) absolute joint target that was sent, rad.
        measured: (A,) joint positions at that time, rad.
        chunk, row: chunk of the command and row in it; 0 for a human command or a hold.
        observation: stamp of the chunk's observation, ns; 0 without one.
        version: version of the chunk's policy.
        lineage: parts that computed the chunk.
        limits: bits of the limits that changed the command, ``LIMIT_*`` of ``ExecutedStep.msg``.
        reward: reward of this step; the episode's final reward is in :class:`EpisodeState`.
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
        """Raise :class:`StreamError` unless command and measurement are (A,), and all numbers finite."""
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
        """Step as input of a window."""
        return ExecutedStep(self.step, self.command, self.source, self.reward)


@dataclasses.dataclass(frozen=True)
class ChunkRequest:
    """Executor's request for a chunk.

    Attributes:
        stamp: stamp of the joint state at the request, ns; selects the observation of the chunk.
        episode: id.
        step: control step of the chunk's first row.
        phase: APPROACH or CRITICAL.
        overlap: True if the arm moves during inference; otherwise it waits.
        expected: (A,) joint positions expected at that step, rad; None for the current ones.
    """

    stamp: int
    episode: int
    step: int
    phase: Phase
    overlap: bool = False
    expected: np.ndarray[Any, np.dtype[np.float64]] | None = None

    def same(self, other: ChunkRequest) -> bool:
        """Return whether both request the same chunk, at any time."""
        return (self.episode, self.step, self.phase) == (other.episode, other.step, other.phase)


@dataclasses.dataclass(frozen=True)
class ActionChunk:
    """C control steps to execute, with the VLA's reference.

    Attributes:
        stamp: stamp of its observation, ns.
        episode: id.
        chunk: id, counted from 1 within a run of the inference node.
        step: control step of the first row.
        source: VLA or ACTOR.
        anchor: (A,) joint positions that the actions are relative to, rad.
        scale: (A,) rad of one policy unit, above 0.
        reference: (C, A) the VLA's chunk, policy units.
        action: (C, A) actions to execute, policy units.
        version: version of the policy; 0 for the VLA.
        lineage: all parts that computed it.
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
