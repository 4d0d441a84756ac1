"""Assembly of one robot's states, steps and episodes, which arrive in any interleaving, into rows of the replay.

Records are buffered until their episode ends, because its last state decides about storing it: evaluations and
withdrawn episodes have no rows. Then :class:`~rlt_ros.rlt.windows.WindowBuilder` builds all windows at once, so they
do not depend on the order of arrival.

No window spans a missing step or state. Windows before and after a gap are kept where they are complete; the end of the
episode counts only if every record from the last gap to the end has arrived.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence

from rlt_ros.replay.stream import EpisodeOutcome, EpisodeState, Phase, StateRecord, StepRecord
from rlt_ros.rlt.config import Shapes
from rlt_ros.rlt.windows import Encode, Window, WindowBuilder, WindowError, lineage_id
from rlt_ros.store.lineage import FROZEN_PARTS, Lineage, fingerprint

_MAX_OPEN_EPISODES = 10
"""Buffered episodes without an end: the running one, and those that arrive at once after a stall."""

_MAX_FINISHED_EPISODES = 1000
"""Finished episodes that are remembered, so that late records of them are ignored."""

LARGEST_EPISODE = 2**40
"""Exclusive upper bound of episode ids; higher bits distinguish robots."""

_MAX_RECORDS = 50_000
"""Steps and states buffered per episode, a quarter of an hour at 50 Hz; a longer episode has lost its end."""


@dataclasses.dataclass(frozen=True)
class RowSpec:
    """Definition of the rows made from a stream.

    Attributes:
        shapes: sizes of states and actions.
        encode: absolute joint targets to policy units.
        lineage: frozen parts; records of others are rejected.
        gamma: discount per control step.
    """

    shapes: Shapes
    encode: Encode
    lineage: Lineage
    gamma: float


@dataclasses.dataclass(frozen=True)
class AssembledEpisode:
    """Finished episode.

    Attributes:
        end: its last state.
        windows: its rows, oldest first; empty for an episode that is not stored.
        complete: True if no record was missing.
    """

    end: EpisodeState
    windows: list[Window]
    complete: bool


class _Episode:
    """Records of one episode that have arrived."""

    def __init__(self) -> None:
        self.states: dict[int, StateRecord] = {}
        self.steps: dict[int, StepRecord] = {}
        self.end: EpisodeState | None = None
        # Reason for rejecting further records; empty without a fault.
        self.fault = ""


class EpisodeAssembler:
    """Joins the streams of one robot.

    Args:
        stride: control steps between two windows.
        reject: reject(kind, detail): called for every unused input; `kind` names its counter.
        offset: added to the ids of this robot's episodes, so that several robots fill one replay.

    Attributes:
        spec: definition of the rows; None until known, when episodes have no rows.
        duplicates: steps, states and ends that arrived twice.
    """

    def __init__(self, stride: int, reject: Callable[[str, str], None], *, offset: int = 0) -> None:
        self._stride, self._reject, self._offset = stride, reject, offset
        self.spec: RowSpec | None = None
        self._open: dict[int, _Episode] = {}
        # Episode id → True if it has rows; oldest first.
        self._finished: dict[int, bool] = {}
        self.duplicates = 0

    def add_state(self, record: StateRecord) -> None:
        """Add an RL state."""
        if self._is_foreign(record.lineage, f"state of step {record.state.step}", record.episode):
            return
        episode = self._episode(record.episode, f"state of step {record.state.step}")
        if episode is None:
            return
        # For instance a request that was answered twice.
        if record.state.step in episode.states:
            self.duplicates += 1
        else:
            episode.states[record.state.step] = record

    def add_step(self, record: StepRecord) -> None:
        """Add an executed step."""
        made = record.lineage
        if made != Lineage() and self._is_foreign(made, f"step {record.step}", record.episode):
            return
        episode = self._episode(record.episode, f"step {record.step}")
        if episode is None:
            return
        known = episode.steps.get(record.step)
        if known is None:
            episode.steps[record.step] = record
        elif known.stamp == record.stamp:
            self.duplicates += 1
        # The executor restarted its count, so later step numbers have another meaning.
        else:
            episode.fault = f"step {record.step} was executed twice; the rest of the episode is not used"
            self._reject("executed twice", f"episode {record.episode}: {episode.fault}")

    def add_episode(self, state: EpisodeState) -> None:
        """Add a state of an episode; only its end matters here."""
        if state.episode in self._finished:
            if state.discarded and self._finished[state.episode]:
                self._reject(
                    "withdrawn too late", f"episode {state.episode} was withdrawn, but its rows are stored"
                )
            elif state.phase is Phase.DONE:
                self.duplicates += 1
            return
        if state.phase is not Phase.DONE or not 0 < state.episode < LARGEST_EPISODE:
            return
        episode = self._open.setdefault(state.episode, _Episode())
        if episode.end is not None:
            self.duplicates += 1
            return
        episode.end = state

    @property
    def waiting(self) -> list[int]:
        """Ids of ended episodes with missing records."""
        return [number for number, episode in self._open.items() if episode.end and self._lacks(episode)]

    @property
    def unfinished(self) -> list[int]:
        """Ids of episodes with steps or states and without an end."""
        return [number for number, episode in self._open.items() if episode.end is None]

    def take(self, *, overdue: frozenset[int] = frozenset()) -> list[AssembledEpisode]:
        """Remove and return complete episodes, oldest first, and the ``overdue`` ones with the records they have."""
        running = [number for number, episode in self._open.items() if episode.end is None]
        overdue = overdue | set(running[:-_MAX_OPEN_EPISODES])
        done = [
            number
            for number, episode in self._open.items()
            if number in overdue or (episode.end and not self._lacks(episode))
        ]
        return [taken for number in done if (taken := self._finish(number))]

    def _finish(self, number: int) -> AssembledEpisode | None:
        episode = self._open.pop(number)
        end = episode.end
        windows: list[Window] = []
        complete = False
        if end is None:
            self._reject(
                "without end", f"episode {number} has no end, and {_MAX_OPEN_EPISODES} newer ones began"
            )
        elif not _is_stored(end):
            complete = True
        elif end.outcome.terminated and (end.outcome is EpisodeOutcome.SUCCESS) != (end.reward > 0):
            self._reject("contradiction", f"episode {number}: {end.outcome.name} with reward {end.reward}")
        else:
            missing = self._missing(episode)
            complete = not missing
            if missing and (episode.states or episode.steps):
                self._reject("incomplete", f"episode {number}: {episode.fault or missing}")
            try:
                windows = self._windows(number, episode, end)
            except WindowError as error:
                self._reject("unusable", str(error))
        self._finished[number] = bool(windows)
        while len(self._finished) > _MAX_FINISHED_EPISODES:
            self._finished.pop(next(iter(self._finished)))
        return AssembledEpisode(end, windows, complete) if end else None

    def _lacks(self, episode: _Episode) -> bool:
        """Return whether further records can complete an ended episode."""
        return not episode.fault and bool(self._missing(episode))

    def _missing(self, episode: _Episode) -> str:
        """Description of the first missing record of an ended episode; empty if it is complete."""
        end = episode.end
        assert end is not None
        if not _is_stored(end):
            return ""
        if not episode.states:
            return "none of its states has arrived"
        start = min(episode.states)
        stop = start + end.steps
        for step in range(start, stop):
            if step not in episode.steps:
                return f"step {step} of {start} to {stop - 1} has not arrived"
            if (step - start) % self._stride == 0 and step not in episode.states:
                return f"the state of step {step} has not arrived"
        if not end.outcome.terminated and stop not in episode.states:
            return f"the state of step {stop}, after the last one, has not arrived"
        return ""

    def _windows(self, number: int, episode: _Episode, end: EpisodeState) -> list[Window]:
        spec = self.spec
        if spec is None or not episode.states or not episode.steps:
            return []
        stop = min(episode.states) + end.steps
        windows: list[Window] = []
        for states in self._runs(episode, stop):
            windows += self._run(spec, number, episode, states, stop, end)
        return windows

    def _runs(self, episode: _Episode, stop: int) -> Iterator[list[int]]:
        """Longest runs of states before ``stop``, one per stride, without a missing step."""
        run: list[int] = []
        for step in sorted(step for step in episode.states if step < stop):
            between = range(run[-1], step) if run else range(0)
            if run and (step != run[-1] + self._stride or any(s not in episode.steps for s in between)):
                yield run
                run = []
            run.append(step)
        if run:
            yield run

    def _run(
        self, spec: RowSpec, number: int, episode: _Episode, states: list[int], stop: int, end: EpisodeState
    ) -> list[Window]:
        """Windows that start at ``states``, to the end of the episode if no record is missing there."""
        builder = WindowBuilder(
            spec.shapes,
            spec.encode,
            episode=self._offset + number,
            lineage=lineage_id(spec.lineage),
            stride=self._stride,
            gamma=spec.gamma,
        )
        first, last = states[0], _first_missing(episode.steps, states[0], stop)
        final = None
        reaches_end = last == stop and states[-1] + self._stride >= stop
        if reaches_end and not end.outcome.terminated:
            final = episode.states.get(stop)
            # Without the final state, the episode is truncated at its last state.
            if final is None and len(states) > 1:
                *states, last = states
                final = episode.states[last]
            reaches_end = final is not None
        windows: list[Window] = []
        for step in states:
            windows += builder.add_state(episode.states[step].state)
        for step in range(first, last):
            windows += builder.add_step(episode.steps[step].executed)
        if reaches_end:
            windows += builder.finish(
                terminated=end.outcome.terminated,
                reward=end.reward,
                final_state=final.state if final else None,
            )
        return windows

    def _episode(self, number: int, what: str) -> _Episode | None:
        """Open episode ``number``; None if its records are not used."""
        # The executor may send a step or two before it receives an end, and holds between episodes: no rejection.
        if number in self._finished or number == 0:
            return None
        if not 0 < number < LARGEST_EPISODE:
            self._reject(
                "malformed", f"{what} belongs to episode {number}; ids are 1 to {LARGEST_EPISODE - 1}"
            )
            return None
        episode = self._open.setdefault(number, _Episode())
        if episode.fault:
            self._reject("after a fault", f"{what} of episode {number}: {episode.fault}")
            return None
        if len(episode.steps) + len(episode.states) >= _MAX_RECORDS:
            episode.fault = f"it is longer than {_MAX_RECORDS} steps and states"
        return episode

    def _is_foreign(self, lineage: Lineage, what: str, number: int) -> bool:
        if self.spec is None:
            return False
        own = self.spec.lineage
        differing = [part for part in FROZEN_PARTS if getattr(own, part) != getattr(lineage, part)]
        if differing:
            part = differing[0]
            self._reject(
                "other lineage",
                f"{what} of episode {number} was made by {part} `{getattr(lineage, part)}`; the replay's rows are of "
                f"`{getattr(own, part)}`. Use that {part}, or give the replay another folder",
            )
        return bool(differing)


def _is_stored(end: EpisodeState) -> bool:
    return not end.eval and not end.discarded and end.steps > 0


def _first_missing(steps: dict[int, StepRecord], start: int, stop: int) -> int:
    """First missing step from ``start`` to before ``stop``, else ``stop``."""
    return next((step for step in range(start, stop) if step not in steps), stop)


def episode_offset(robot: str) -> int:
    """Offset of a robot's episode ids in the replay, unique per namespace; 0 for the root namespace."""
    return int(fingerprint(robot.encode())[:5], 16) * LARGEST_EPISODE if robot else 0


def distinct(robots: Sequence[str]) -> bool:
    """Return whether there are robots and their episode ids do not collide."""
    return bool(robots) and len({episode_offset(name) for name in robots}) == len(robots)
