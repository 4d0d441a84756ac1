"""The state machine of one episode: reset, approach (the VLA acts), critical phase (RL acts), done.

It knows no topics and reads no clock. `stamp` is the robot's time in ns, `now` a steady time in seconds that time-outs
are measured on. What comes of an input is in :meth:`EpisodeMachine.take_news` and :meth:`EpisodeMachine.take_finished`.

The end of an episode and its steps come by different ways, so the end names the step that caused it: by the stamp of
its command. An end is announced when that step has come, with its stamp, and with how many steps of the critical phase
there were up to it. Steps are counted by their numbers, from the one that the first chunk of the critical phase was
asked for, so that a message that is lost changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import NamedTuple

from rlt_ros.episodes.plan import HELPED_FACTOR, Kind
from rlt_ros.rlt.parameters import check, parameter
from rlt_ros.rlt.stream import Ending, EpisodeState, Phase
from rlt_ros.rlt.transition import Source


class Event(IntEnum):
    """What moves an episode on; the numbers are those of ``EpisodeEvent.msg``."""

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
    """When an episode goes on without being told, and when it is given up."""

    auto_start: bool = parameter(
        True, help="Begin the next episode by itself; false waits for an operator's START each time."
    )
    helped_factor: int = parameter(
        HELPED_FACTOR,
        help="Factor on the step limit of the critical phase once a human has taken over, who shall have time to "
        "finish.",
        low=1,
    )
    reset_timeout: float = parameter(
        60.0,
        help="Steady time after which a reset that nobody reported as done is asked for again; 0 waits for ever.",
        unit="s",
        low=0.0,
    )
    reset_attempts: int = parameter(
        3, help="Resets that may time out before episodes stop and an operator must START again.", low=1
    )
    label_patience: float = parameter(
        1.0,
        help="Steady time to wait for the executed step that an end was caused by.",
        unit="s",
        low=0.0,
    )
    silence: float = parameter(
        30.0,
        help="Steady time without an executed step after which an episode is aborted; starting an inference again "
        "takes less.",
        unit="s",
        low=0.1,
    )

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True)
class Assignment:
    """One episode to do.

    Attributes:
        episode: id, never used before.
        seed: of its conditions.
        kind: what it is for.
        task, instruction: what is to be done.
        approach_steps, critical_steps: limits.
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
    """What became of it.

    Attributes:
        assignment: what was to be done.
        ending: how it ended.
        critical: whether the critical phase was reached.
        steps: of the critical phase.
        human_share: share of these that a human commanded.
        actor_acted: whether the actor chose any of them.
        repeat: it shall be done again under the same conditions.
        reason: why it ended, in words.
    """

    assignment: Assignment
    ending: Ending
    critical: bool
    steps: int
    human_share: float
    actor_acted: bool
    repeat: bool = False
    reason: str = ""


class _Step(NamedTuple):
    step: int
    stamp: int
    source: Source


@dataclass(frozen=True)
class _End:
    """An end whose step has not come yet."""

    ending: Ending
    stamp: int
    deadline: float
    reason: str


class EpisodeMachine:
    """One episode after the other.

    Args:
        config: what is waited for, and how long.
        drop: told (kind, reason) of everything that is not used.
    """

    def __init__(self, config: EpisodeConfig, drop: Callable[[str, str], None]) -> None:
        self._config, self._drop = config, drop
        self._news: list[EpisodeState] = []
        self._finished: list[FinishedEpisode] = []
        self._assignment: Assignment | None = None
        self._newest: int | None = None  # number of the newest step
        self._first: int | None = None  # number of the first step of the critical phase
        self._steps: list[_Step] = []  # since the hand-over
        self._end: _End | None = None
        self._began = self._last_step = 0.0
        self._attempts = 0
        self._stopped = False
        self._started = config.auto_start
        self._pressed = False
        self.state = EpisodeState(0, Phase.IDLE)
        """Where the episode is."""
        self.stopped_because = ""
        """Why no further episode begins, in words."""

    # -- what comes of it --------------------------------------------------------------------------------------------

    def take_news(self) -> list[EpisodeState]:
        """States since it was last asked, oldest first."""
        news, self._news = self._news, []
        return news

    def take_finished(self) -> list[FinishedEpisode]:
        """Episodes that are over, since it was last asked."""
        finished, self._finished = self._finished, []
        return finished

    @property
    def may_begin(self) -> bool:
        """Return whether the next episode may begin."""
        over = self.state.phase in (Phase.IDLE, Phase.DONE)
        return over and self._started and not self._stopped and not self._pressed

    @property
    def waits_for(self) -> str:
        """Input without which no episode begins, in words; empty where none is needed, or an episode runs."""
        if self.running or self.may_begin:
            return ""
        return "the release of the e-stop" if self._pressed else self.stopped_because or "START"

    @property
    def running(self) -> bool:
        """Return whether an episode is running, its reset included."""
        return self.state.phase not in (Phase.IDLE, Phase.DONE)

    # -- what comes in -----------------------------------------------------------------------------------------------

    def begin(self, assignment: Assignment, stamp: int, now: float) -> None:
        """Begin an episode with its reset."""
        assert self.may_begin, "an episode begins when may_begin says so"
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
        """Take in what happened at ``stamp``; ``episode`` 0 means the running one."""
        if episode not in (0, self.state.episode):
            self._drop(
                "event of another episode",
                f"{event.name} of episode {episode}; {self.state.episode} is running",
            )
            return
        if event is Event.START and (self._stopped or not self.running):
            self._started, self._stopped, self.stopped_because = True, False, ""
            if self._pressed:
                self._drop(
                    "START under the e-stop", "the e-stop is pressed; release it, and the episode begins"
                )
        elif event is Event.STOP:
            self._stop("an operator said so")
        elif event is Event.RESET_DONE and self.state.phase is Phase.RESETTING:
            self._last_step = now
            self._announce(replace(self.state, phase=Phase.APPROACH, stamp=stamp))
        elif event is Event.HAND_OVER and self.state.phase is Phase.APPROACH:
            self._announce(replace(self.state, phase=Phase.CRITICAL, stamp=stamp))
        elif event in (Event.ABORT, Event.RE_RECORD) and self.running:
            again = event is Event.RE_RECORD
            self._finish(Ending.ABORTED, None, reason or event.name, repeat=again, discarded=again)
        elif event is Event.FAILURE and self.state.phase is Phase.APPROACH:
            self._finish(Ending.FAILURE, stamp, reason or "failed on the way")
        elif event in (Event.SUCCESS, Event.FAILURE) and self.state.phase is Phase.CRITICAL and not self._end:
            if stamp < self.state.stamp:
                self._drop("label of before", f"{event.name} stamped before the critical phase began")
                return
            ending = Ending.SUCCESS if event is Event.SUCCESS else Ending.FAILURE
            self._end = _End(ending, stamp, now + self._config.label_patience, reason)
            self._settle(now)
        else:
            self._drop(f"{event.name} out of place", f"the episode is {self.state.phase.name}")

    def chunk_asked(self, episode: int, step: int, *, critical: bool) -> None:
        """Take in that the executor asked for the chunk from ``step`` on: the first one is where counting begins."""
        mine = episode == self.state.episode and self.state.phase is Phase.CRITICAL
        if critical and mine and self._first is None:
            self._first = step

    def step(self, episode: int, step: int, stamp: int, source: Source, now: float) -> None:
        """Take in an executed control step."""
        if episode != self.state.episode or self.state.phase not in (Phase.APPROACH, Phase.CRITICAL):
            return  # one or two more are usual before the executor hears of an end
        assert self._assignment is not None
        if self._newest is not None and step <= self._newest:
            self._drop("step out of order", f"step {step} after step {self._newest}")
            return
        self._newest, self._last_step = step, now
        if self.state.phase is Phase.APPROACH:
            if step >= self._assignment.approach_steps:
                self._finish(Ending.TIMEOUT, stamp, "the tool was not brought near")
            return
        self._steps.append(_Step(step, stamp, source))
        self._settle(now)
        if self.state.phase is Phase.CRITICAL and not self._end:
            self._cut(step)

    def e_stop(self, pressed: bool) -> None:
        """Take in the e-stop: it aborts the episode, and none begins until it is released."""
        self._pressed = pressed
        if pressed and self.running:
            self._finish(Ending.ABORTED, None, "e-stop")

    def tick(self, stamp: int, now: float) -> None:
        """Give up what did not come."""
        config = self._config
        self._settle(now)
        if self.state.phase is Phase.RESETTING and 0 < config.reset_timeout < now - self._began:
            self._attempts += 1
            self._began = now
            if self._attempts >= config.reset_attempts:
                self._finish(Ending.ABORTED, None, f"{self._attempts} resets timed out")
                self._stop(f"no reset was reported as done within {config.reset_timeout:g} s; START again")
            else:
                self._announce(replace(self.state, stamp=stamp))
        acting = self.state.phase in (Phase.APPROACH, Phase.CRITICAL)
        if acting and now - self._last_step > config.silence:
            self._finish(Ending.ABORTED, None, f"no step was executed for {config.silence:g} s")

    # -- inside --------------------------------------------------------------------------------------------------------

    def _clear(self, now: float) -> None:
        self._began = self._last_step = now
        self._attempts = 0
        self._newest = self._first = self._end = None
        self._steps = []

    def _stop(self, reason: str) -> None:
        self._stopped, self.stopped_because = True, reason

    def _announce(self, state: EpisodeState) -> None:
        self.state = state
        self._news.append(state)

    def _settle(self, now: float) -> None:
        """Finish the episode once the step that ended it has come, or will not come any more."""
        end = self._end
        if end is None:
            return
        if now >= end.deadline or (self._steps and self._steps[-1].stamp >= end.stamp):
            self._finish(end.ending, end.stamp, end.reason)

    def _cut(self, step: int) -> None:
        """Cut the critical phase when a step beyond its limit was executed: by then any label for the last has come."""
        assert self._assignment is not None
        limit = self._assignment.critical_steps
        if any(executed.source is Source.HUMAN for executed in self._steps):
            limit *= self._config.helped_factor
        last = self._start() + limit - 1
        if step > last:
            within = [executed.stamp for executed in self._steps if executed.step <= last]
            self._finish(
                Ending.TIMEOUT, max(within, default=self.state.stamp), f"{limit} steps were not enough"
            )

    def _start(self) -> int:
        """Number of the first step of the critical phase."""
        if self._first is not None:
            return self._first
        after = [executed.step for executed in self._steps if executed.stamp >= self.state.stamp]
        return after[0] if after else self._steps[0].step

    def _finish(
        self, ending: Ending, stamp: int | None, reason: str, *, repeat: bool = False, discarded: bool = False
    ) -> None:
        """Announce the end; what was executed after ``stamp`` (None: now) does not belong to the episode."""
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
                ending,
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
                ending=ending,
                discarded=discarded,
                reward=1.0 if ending is Ending.SUCCESS else 0.0,
                steps=steps,
                stamp=counted[-1].stamp if counted else stamp or self.state.stamp,
            )
        )
