"""Buttons to events: a press counts once, and a label holds until the next episode."""

from __future__ import annotations

import enum

from rlt_ros.rlt.stream import EpisodeState, Phase


class Event(enum.Enum):
    """What a press leads to; the names are those of ``EpisodeEvent.msg``, but for the e-stop."""

    START = "start"
    RESET_DONE = "reset_done"
    HAND_OVER = "hand_over"
    SUCCESS = "success"
    FAILURE = "failure"
    RE_RECORD = "re_record"
    E_STOP = "e_stop"
    E_STOP_RELEASED = "e_stop_released"


_RUNNING = (Phase.APPROACH, Phase.CRITICAL)
_PHASES = {
    Event.START: (Phase.IDLE, Phase.DONE),
    Event.RESET_DONE: (Phase.RESETTING,),
    Event.HAND_OVER: (Phase.APPROACH,),
    Event.SUCCESS: (Phase.CRITICAL,),  # nothing is done before
    Event.FAILURE: _RUNNING,
    Event.RE_RECORD: (*_RUNNING, Phase.DONE),
}
"""Phases of the episode in which each event means something."""
_LABELS = (Event.SUCCESS, Event.FAILURE)
_REPEATED = (Event.START, Event.RESET_DONE)  # the answer may be no, for now


class Labels:
    """Turns what is held into what was pressed."""

    def __init__(self) -> None:
        self._held: frozenset[str] = frozenset()
        self._given: set[tuple[int, Event]] = set()
        self.stopped = False
        """The e-stop is pressed; then `start` releases it and means nothing else."""
        self.ignored = 0
        """Presses that meant nothing in the phase of the episode, or came after the label."""

    def update(self, held: frozenset[str], episode: EpisodeState) -> list[Event]:
        """What the buttons that are held now, by meaning, and were not held before, lead to."""
        pressed, self._held = held - self._held, held
        if "e_stop" in pressed:
            self.stopped = True
            return [Event.E_STOP]
        if self.stopped:
            if "start" not in pressed:
                return []
            self.stopped = False
            return [Event.E_STOP_RELEASED]
        return [event for name in sorted(pressed) if self._counts(event := Event(name), episode)]

    def forget_held(self) -> None:
        """The device was away: what is held when it is back counts as pressed only when it is pressed anew."""
        self._held = frozenset(event.value for event in Event)

    def _counts(self, event: Event, episode: EpisodeState) -> bool:
        once = {(episode.episode, label) for label in (_LABELS if event in _LABELS else (event,))}
        if episode.phase not in _PHASES[event] or (event not in _REPEATED and once & self._given):
            self.ignored += 1
            return False
        self._given = {(number, label) for number, label in self._given if number == episode.episode}
        self._given.add((episode.episode, event))
        return True
