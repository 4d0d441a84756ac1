"""State machine of an episode: reset, approach (the VLA acts), critical phase (RL acts), done.

It knows no topics and reads no clock. `stamp` is the robot's time in ns, `now` a steady time in s for time-outs.
Outputs are read by :meth:`EpisodeMachine.take_states` and :meth:`EpisodeMachine.take_finished`.

The end of an episode and its steps arrive on different topics, so an end identifies its step by the stamp of the
command. The end is published once that step has arrived, with its stamp and the number of critical steps up to it.
Steps are counted by their numbers, from the step of the first chunk request of the critical phase, so a lost message
does not change the count.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import NamedTuple

from rlt_ros.episodes.plan import HELPED_FACTOR, Kind
from rlt_ros.learning.run_folder import NO_APPROACH
from rlt_ros.replay.stream import EpisodeOutcome, EpisodeState, Phase
from rlt_ros.rlt.transition import Source
from rlt_ros.store.parameters import check, parameter


class Event(IntEnum):
    """Event of an episode, with the numbers of ``EpisodeEvent.msg``."""

    START = 1
    RESET_DONE = 2
    HAND_OVER = 3
    SUCCESS = 4
    FAILURE = 5
    ABORT = 6
    RE_RECORD = 7
    STOP = 8


@dataclass(frozen=True)
class EpisodeConfig:
    """Automatic transitions and time-outs of an episode."""

    auto_start: bool = parameter(
        True, help="Automatic start of the next episode; false waits for an operator's START each time."
    )
    helped_factor: int = parameter(
        HELPED_FACTOR,
        help="Factor on the step limit of the critical phase after a human's take-over, as time to finish.",
        low=1,
    )
    reset_timeout: float = parameter(
        60.0,
        help="Steady time after which a reset without RESET_DONE is requested again; 0 disables the time-out.",
        unit="s",
        low=0.0,
    )
    reset_attempts: int = parameter(
        3, help="Timed-out resets after which episodes stop until an operator's START.", low=1
    )
    label_patience: float = parameter(
        1.0,
        help="Steady time-out of the executed step that caused an end.",
        unit="s",
        low=0.0,
    )
    silence: float = parameter(
        30.0,
        help="Steady time without an executed step after which an episode is aborted; longer than a restart of the "
        "inference node.",
        unit="s",
        low=0.1,
    )

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True)
class Assignment:
    """Episode to execute.

    Attributes:
        episode: unique id.
        seed: seed of its conditions.
        kind: purpose.
        task, instruction: task and instruction for the VLA.
        approach_steps, critical_steps: step limits of both phases.
    """

    episode: int
    seed: int
    kind: Kind
    task: str
    instruction: str
    approach_steps: int
    critical_steps: int


@dataclass(frozen=True)
class FinishedEpisode:
    """Finished episode.

    Attributes:
        assignment: the executed assignment.
        outcome: outcome of the episode.
        critical: True if the critical phase was reached.
        steps: control steps of the critical phase.
        human_share: share of these that a human commanded, 0 to 1.
        actor_acted: True if the actor chose any of them.
        repeat: True to repeat it under the same conditions.
        reason: text of the reason of the end.
    """

    assignment: Assignment
    outcome: EpisodeOutcome
    critical: bool
    steps: int
    human_share: float
    actor_acted: bool
    repeat: bool = False
    reason: str = ""

    @property
    def end(self) -> str:
        """Word of the outcome in ``episodes.jsonl``; `NO_APPROACH` for an end before the critical phase."""
        aborted = self.outcome is EpisodeOutcome.ABORTED
        return self.outcome.word if self.critical or aborted else NO_APPROACH


class _Step(NamedTuple):
    step: int
    stamp: int
    source: Source


@dataclass(frozen=True)
class _End:
    """End whose step has not arrived."""

    outcome: EpisodeOutcome
    stamp: int
    deadline: float
    reason: str


class EpisodeMachine:
    """Sequence of episodes.

    Args:
        config: automatic transitions and time-outs.
        drop: drop(kind, reason): called for every unused input; `kind` names its counter.
    """

    def __init__(self, config: EpisodeConfig, drop: Callable[[str, str], None]) -> None:
        self._config, self._drop = config, drop
        self._states: list[EpisodeState] = []
        self._finished: list[FinishedEpisode] = []
        self._assignment: Assignment | None = None
        # Numbers of the newest step and of the first step of the critical phase.
        self._newest: int | None = None
        self._first: int | None = None
        # Steps since the hand-over.
        self._steps: list[_Step] = []
        self._end: _End | None = None
        self._began = self._last_step = 0.0
        self._attempts = 0
        self._stopped = False
        self._started = config.auto_start
        self._pressed = False
        self.state = EpisodeState(0, Phase.IDLE)
        """Current state of the episode."""
        self.stop_reason = ""
        """Reason for starting no further episode; empty for none."""

    # -- outputs -----------------------------------------------------------------------------------------------------

    def take_states(self) -> list[EpisodeState]:
        """States since the last call, oldest first."""
        states, self._states = self._states, []
        return states

    def take_finished(self) -> list[FinishedEpisode]:
        """Finished episodes since the last call."""
        finished, self._finished = self._finished, []
        return finished

    @property
    def may_begin(self) -> bool:
        """True if the next episode may begin."""
        over = self.state.phase in (Phase.IDLE, Phase.DONE)
        return over and self._started and not self._stopped and not self._pressed

    @property
    def awaited_input(self) -> str:
        """Input required for the next episode; empty for none, or while an episode runs."""
        if self.running or self.may_begin:
            return ""
        return "the release of the e-stop" if self._pressed else self.stop_reason or "START"

    @property
    def running(self) -> bool:
        """True while an episode is running, including its reset."""
        return self.state.phase not in (Phase.IDLE, Phase.DONE)

    # -- inputs ------------------------------------------------------------------------------------------------------

    def begin(self, assignment: Assignment, stamp: int, now: float) -> None:
        """Begin an episode with its reset."""
        assert self.may_begin, "begin() requires may_begin"
        self._started = self._config.auto_start
        self._assignment = assignment
        self._clear(now)
        self._announce(
            EpisodeState(
                assignment.episode,
                Phase.RESETTING,
                eval=assignment.kind.evaluates,
                task=assignment.task,
                instruction=assignment.instruction,
                seed=assignment.seed,
                stamp=stamp,
            )
        )

    def event(self, event: Event, *, stamp: int, now: float, episode: int = 0, reason: str = "") -> None:
        """Process an event at ``stamp``; ``episode`` 0 means the running one."""
        if episode not in (0, self.state.episode):
            self._drop(
                "event of another episode",
                f"{event.name} of episode {episode}; {self.state.episode} is running",
            )
            return
        if event is Event.START and (self._stopped or not self.running):
            self._started, self._stopped, self.stop_reason = True, False, ""
            if self._pressed:
                self._drop(
                    "START under the e-stop", "the e-stop is pressed; release it, and the episode begins"
                )
        elif event is Event.STOP:
            self._stop("an operator sent STOP")
        elif event is Event.RESET_DONE and self.state.phase is Phase.RESETTING:
            self._last_step = now
            self._announce(replace(self.state, phase=Phase.APPROACH, stamp=stamp))
        elif event is Event.HAND_OVER and self.state.phase is Phase.APPROACH:
            self._announce(replace(self.state, phase=Phase.CRITICAL, stamp=stamp))
        elif event in (Event.ABORT, Event.RE_RECORD) and self.running:
            again = event is Event.RE_RECORD
            self._finish(EpisodeOutcome.ABORTED, None, reason or event.name, repeat=again, discarded=again)
        elif event is Event.FAILURE and self.state.phase is Phase.APPROACH:
            self._finish(EpisodeOutcome.FAILURE, stamp, reason or "failed during the approach")
        elif event in (Event.SUCCESS, Event.FAILURE) and self.state.phase is Phase.CRITICAL and not self._end:
            if stamp < self.state.stamp:
                self._drop("early label", f"{event.name} is stamped before the start of the critical phase")
                return
            outcome = EpisodeOutcome.SUCCESS if event is Event.SUCCESS else EpisodeOutcome.FAILURE
            self._end = _End(outcome, stamp, now + self._config.label_patience, reason)
            self._finish_if_due(now)
        else:
            self._drop(f"{event.name} out of place", f"the episode is {self.state.phase.name}")

    def chunk_requested(self, episode: int, step: int, *, critical: bool) -> None:
        """Process a chunk request for ``step``; the first critical one sets the start of the step count."""
        mine = episode == self.state.episode and self.state.phase is Phase.CRITICAL
        if critical and mine and self._first is None:
            self._first = step

    def step(self, episode: int, step: int, stamp: int, source: Source, now: float) -> None:
        """Process an executed control step."""
        # The executor may execute one or two more steps before it receives an end.
        if episode != self.state.episode or self.state.phase not in (Phase.APPROACH, Phase.CRITICAL):
            return
        assert self._assignment is not None
        if self._newest is not None and step <= self._newest:
            self._drop("step out of order", f"step {step} after step {self._newest}")
            return
        self._newest, self._last_step = step, now
        if self.state.phase is Phase.APPROACH:
            if step >= self._assignment.approach_steps:
                self._finish(EpisodeOutcome.TIMEOUT, stamp, "the approach did not reach the critical phase")
            return
        self._steps.append(_Step(step, stamp, source))
        self._finish_if_due(now)
        if self.state.phase is Phase.CRITICAL and not self._end:
            self._check_step_limit(step)

    def e_stop(self, pressed: bool) -> None:
        """Process the e-stop: pressing it aborts the episode, and releasing it permits the next one."""
        self._pressed = pressed
        if pressed and self.running:
            self._finish(EpisodeOutcome.ABORTED, None, "e-stop")

    def tick(self, stamp: int, now: float) -> None:
        """Check all time-outs."""
        config = self._config
        self._finish_if_due(now)
        if self.state.phase is Phase.RESETTING and 0 < config.reset_timeout < now - self._began:
            self._attempts += 1
            self._began = now
            if self._attempts >= config.reset_attempts:
                self._finish(EpisodeOutcome.ABORTED, None, f"{self._attempts} resets timed out")
                self._stop(f"no reset was reported as done within {config.reset_timeout:g} s; START again")
            else:
                self._announce(replace(self.state, stamp=stamp))
        acting = self.state.phase in (Phase.APPROACH, Phase.CRITICAL)
        if acting and now - self._last_step > config.silence:
            self._finish(EpisodeOutcome.ABORTED, None, f"no step was executed for {config.silence:g} s")

    # -- internals -----------------------------------------------------------------------------------------------------

    def _clear(self, now: float) -> None:
        self._began = self._last_step = now
        self._attempts = 0
        self._newest = self._first = self._end = None
        self._steps = []

    def _stop(self, reason: str) -> None:
        self._stopped, self.stop_reason = True, reason

    def _announce(self, state: EpisodeState) -> None:
        self.state = state
        self._states.append(state)

    def _finish_if_due(self, now: float) -> None:
        """Finish the episode once the step of its end has arrived or timed out."""
        end = self._end
        if end is None:
            return
        if now >= end.deadline or (self._steps and self._steps[-1].stamp >= end.stamp):
            self._finish(end.outcome, end.stamp, end.reason)

    def _check_step_limit(self, step: int) -> None:
        """Truncate the critical phase at its first step beyond the limit, after any label of the last one."""
        assert self._assignment is not None
        limit = self._assignment.critical_steps
        if any(executed.source is Source.HUMAN for executed in self._steps):
            limit *= self._config.helped_factor
        last = self._start() + limit - 1
        if step > last:
            within = [executed.stamp for executed in self._steps if executed.step <= last]
            self._finish(
                EpisodeOutcome.TIMEOUT,
                max(within, default=self.state.stamp),
                f"{limit} steps were not enough",
            )

    def _start(self) -> int:
        """Number of the first step of the critical phase."""
        if self._first is not None:
            return self._first
        after = [executed.step for executed in self._steps if executed.stamp >= self.state.stamp]
        return after[0] if after else self._steps[0].step

    def _finish(
        self,
        outcome: EpisodeOutcome,
        stamp: int | None,
        reason: str,
        *,
        repeat: bool = False,
        discarded: bool = False,
    ) -> None:
        """Publish the end; steps after ``stamp`` (None: now) do not belong to the episode."""
        assert self._assignment is not None
        start = self._start() if self._steps else 0
        counted = [
            executed
            for executed in self._steps
            if executed.step >= start and (stamp is None or executed.stamp <= stamp)
        ]
        steps = counted[-1].step - start + 1 if counted else 0
        sources = [executed.source for executed in counted]
        self._finished.append(
            FinishedEpisode(
                self._assignment,
                outcome,
                critical=self.state.phase is Phase.CRITICAL,
                steps=steps,
                human_share=sources.count(Source.HUMAN) / len(sources) if sources else 0.0,
                actor_acted=Source.ACTOR in sources,
                repeat=repeat,
                reason=reason,
            )
        )
        self._end = None
        self._announce(
            replace(
                self.state,
                phase=Phase.DONE,
                outcome=outcome,
                discarded=discarded,
                reward=1.0 if outcome is EpisodeOutcome.SUCCESS else 0.0,
                steps=steps,
                stamp=counted[-1].stamp if counted else stamp or self.state.stamp,
            )
        )
