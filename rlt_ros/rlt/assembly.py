"""States, steps and episodes of one robot, arriving apart and in any interleaving, to the rows of the replay.

What belongs to an episode is kept until it is over, because only its end says whether it is stored at all: an
evaluation and an episode that was withdrawn are not. Then its windows are built in one go by the same
:class:`~rlt_ros.rlt.windows.WindowBuilder` that builds them everywhere, so they do not depend on what arrived when.

A gap cuts: no window spans a missing step or state. Windows on either side of it are kept where they are known to be
right, and the end of the episode counts only if everything from the last gap to the end is there.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence

from rlt_ros.rlt.config import Shapes
from rlt_ros.rlt.lineage import FROZEN_PARTS, Lineage, fingerprint
from rlt_ros.rlt.stream import Ending, EpisodeState, Phase, StateRecord, StepRecord
from rlt_ros.rlt.windows import Encode, Window, WindowBuilder, WindowError, lineage_id

_OPEN_EPISODES = 10
"""Episodes without an end that are kept at a time: one that runs, and what came in one go after a stall."""

_REMEMBERED = 1000
"""Finished episodes whose stragglers are known as such."""

LARGEST_EPISODE = 2**40
"""Ids are below; what is above tells robots apart."""

_LONGEST = 50_000
"""Steps and states kept of an episode, a quarter of an hour at 50 Hz: what is longer has lost its end."""


@dataclasses.dataclass(frozen=True)
class Recipe:
    """What turns a stream into rows.

    Attributes:
        shapes: sizes of states and actions.
        encode: absolute joint targets to policy units.
        lineage: frozen parts; what others made is refused.
        gamma: discount per control step.
    """

    shapes: Shapes
    encode: Encode
    lineage: Lineage
    gamma: float


@dataclasses.dataclass(frozen=True)
class Assembled:
    """A finished episode.

    Attributes:
        end: its last state.
        windows: its rows, oldest first; empty where nothing is stored.
        complete: nothing of it was missing.
    """

    end: EpisodeState
    windows: list[Window]
    complete: bool


class _Episode:
    """What has arrived of one episode."""

    def __init__(self) -> None:
        self.states: dict[int, StateRecord] = {}
        self.steps: dict[int, StepRecord] = {}
        self.end: EpisodeState | None = None
        self.spoiled = ""  # why nothing more of it is taken


class Assembly:
    """Joins the streams of one robot.

    Args:
        stride: control steps between two windows.
        reject: told of everything that is not used: its kind in two or three words, and this one with its values.
        offset: added to the ids of this robot's episodes, so that several robots fill one replay.

    Attributes:
        recipe: how rows are made; without one, until it is known, an episode leaves none.
        duplicates: steps, states and ends that came twice.
    """

    def __init__(self, stride: int, reject: Callable[[str, str], None], *, offset: int = 0) -> None:
        self._stride, self._reject, self._offset = stride, reject, offset
        self.recipe: Recipe | None = None
        self._open: dict[int, _Episode] = {}
        self._finished: dict[int, bool] = {}  # id → whether it has rows; oldest first
        self.duplicates = 0

    def add_state(self, record: StateRecord) -> None:
        """Take an RL state."""
        if self._is_foreign(record.lineage, f"state of step {record.state.step}", record.episode):
            return
        episode = self._episode(record.episode, f"state of step {record.state.step}")
        if episode is None:
            return
        if record.state.step in episode.states:  # a request that was answered again, for instance
            self.duplicates += 1
        else:
            episode.states[record.state.step] = record

    def add_step(self, record: StepRecord) -> None:
        """Take an executed step."""
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
        else:  # whoever counts the steps began anew, so its numbers mean something else from here on
            episode.spoiled = f"step {record.step} was executed twice; the rest of the episode is not used"
            self._reject("executed twice", f"episode {record.episode}: {episode.spoiled}")

    def add_episode(self, state: EpisodeState) -> None:
        """Take a state of an episode; only its end matters here."""
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
        """Episodes that are over and lack something."""
        return [number for number, episode in self._open.items() if episode.end and self._lacks(episode)]

    @property
    def unfinished(self) -> list[int]:
        """Episodes of which steps or states have come, and no end."""
        return [number for number, episode in self._open.items() if episode.end is None]

    def take(self, *, overdue: frozenset[int] = frozenset()) -> list[Assembled]:
        """Episodes that are over and complete, oldest first; those ``overdue`` as far as they have come."""
        running = [number for number, episode in self._open.items() if episode.end is None]
        overdue = overdue | set(running[:-_OPEN_EPISODES])
        done = [
            number
            for number, episode in self._open.items()
            if number in overdue or (episode.end and not self._lacks(episode))
        ]
        return [taken for number in done if (taken := self._finish(number))]

    def _finish(self, number: int) -> Assembled | None:
        episode = self._open.pop(number)
        end = episode.end
        windows: list[Window] = []
        complete = False
        if end is None:
            self._reject("without end", f"episode {number} has no end, and {_OPEN_EPISODES} newer ones began")
        elif not _is_stored(end):
            complete = True
        elif end.ending.terminated and (end.ending is Ending.SUCCESS) != (end.reward > 0):
            self._reject("contradiction", f"episode {number}: {end.ending.name} with reward {end.reward}")
        else:
            missing = self._missing(episode)
            complete = not missing
            if missing and (episode.states or episode.steps):
                self._reject("incomplete", f"episode {number}: {episode.spoiled or missing}")
            try:
                windows = self._windows(number, episode, end)
            except WindowError as error:
                self._reject("unusable", str(error))
        self._finished[number] = bool(windows)
        while len(self._finished) > _REMEMBERED:
            self._finished.pop(next(iter(self._finished)))
        return Assembled(end, windows, complete) if end else None

    def _lacks(self, episode: _Episode) -> bool:
        """Return whether waiting for more of an episode that is over makes sense."""
        return not episode.spoiled and bool(self._missing(episode))

    def _missing(self, episode: _Episode) -> str:
        """What an episode that is over still lacks, in words; empty when nothing."""
        end = episode.end
        assert end is not None
        if not _is_stored(end):
            return ""
        if not episode.states:
            return "no state of it has come"
        start = min(episode.states)
        stop = start + end.steps
        for step in range(start, stop):
            if step not in episode.steps:
                return f"step {step} of {start} to {stop - 1} has not come"
            if (step - start) % self._stride == 0 and step not in episode.states:
                return f"the state of step {step} has not come"
        if not end.ending.terminated and stop not in episode.states:
            return f"the state of step {stop}, after the last one, has not come"
        return ""

    def _windows(self, number: int, episode: _Episode, end: EpisodeState) -> list[Window]:
        recipe = self.recipe
        if recipe is None or not episode.states or not episode.steps:
            return []
        stop = min(episode.states) + end.steps
        windows: list[Window] = []
        for states in self._runs(episode, stop):
            windows += self._run(recipe, number, episode, states, stop, end)
        return windows

    def _runs(self, episode: _Episode, stop: int) -> Iterator[list[int]]:
        """Longest series of states before ``stop``, one every stride, whose steps are all there."""
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
        self, recipe: Recipe, number: int, episode: _Episode, states: list[int], stop: int, end: EpisodeState
    ) -> list[Window]:
        """Windows that start at ``states``, as far as they are known; to the end if nothing is missing there."""
        builder = WindowBuilder(
            recipe.shapes,
            recipe.encode,
            episode=self._offset + number,
            lineage=lineage_id(recipe.lineage),
            stride=self._stride,
            gamma=recipe.gamma,
        )
        first, last = states[0], _first_missing(episode.steps, states[0], stop)
        final = None
        reaches_end = last == stop and states[-1] + self._stride >= stop
        if reaches_end and not end.ending.terminated:
            final = episode.states.get(stop)
            if final is None and len(states) > 1:  # cut where the last state was seen
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
                terminated=end.ending.terminated,
                reward=end.reward,
                final_state=final.state if final else None,
            )
        return windows

    def _episode(self, number: int, what: str) -> _Episode | None:
        """Where a record of episode ``number`` belongs; None where it is not used."""
        if number in self._finished or number == 0:
            # Before it hears of an end, a robot may command a step or two; between episodes it holds. Both are usual.
            return None
        if not 0 < number < LARGEST_EPISODE:
            self._reject(
                "malformed", f"{what} belongs to episode {number}; ids are 1 to {LARGEST_EPISODE - 1}"
            )
            return None
        episode = self._open.setdefault(number, _Episode())
        if episode.spoiled:
            self._reject("after a fault", f"{what} of episode {number}: {episode.spoiled}")
            return None
        if len(episode.steps) + len(episode.states) >= _LONGEST:
            episode.spoiled = f"it is longer than {_LONGEST} steps and states"
        return episode

    def _is_foreign(self, lineage: Lineage, what: str, number: int) -> bool:
        if self.recipe is None:
            return False
        own = self.recipe.lineage
        differing = [part for part in FROZEN_PARTS if getattr(own, part) != getattr(lineage, part)]
        if differing:
            part = differing[0]
            self._reject(
                "other lineage",
                f"{what} of episode {number} was made by {part} `{getattr(lineage, part)}`; the replay's rows are of "
                f"`{getattr(own, part)}`. Start that {part}, or give the replay another folder",
            )
        return bool(differing)


def _is_stored(end: EpisodeState) -> bool:
    return not end.eval and not end.discarded and end.steps > 0


def _first_missing(steps: dict[int, StepRecord], start: int, stop: int) -> int:
    """The first step from ``start`` on that is not there, or ``stop``."""
    return next((step for step in range(start, stop) if step not in steps), stop)


def episode_offset(robot: str) -> int:
    """What is added to a robot's episode ids in the replay, so that those of several robots differ; 0 for the root."""
    return int(fingerprint(robot.encode())[:5], 16) * LARGEST_EPISODE if robot else 0


def distinct(robots: Sequence[str]) -> bool:
    """Return whether there are robots, and their episodes stay apart."""
    return bool(robots) and len({episode_offset(name) for name in robots}) == len(robots)
