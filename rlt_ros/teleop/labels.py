"""Events from buttons: a press counts once, and a label counts until the next episode."""

from __future__ import annotations

import enum

from rlt_ros.replay.stream import EpisodeState, Phase


class ButtonEvent(enum.Enum):
    """Event of a button press; names are those of ``EpisodeEvent.msg``, except for the e-stop."""

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
    ButtonEvent.START: (Phase.IDLE, Phase.DONE),
    ButtonEvent.RESET_DONE: (Phase.RESETTING,),
    ButtonEvent.HAND_OVER: (Phase.APPROACH,),
    ButtonEvent.SUCCESS: (Phase.CRITICAL,),
    ButtonEvent.FAILURE: _RUNNING,
    ButtonEvent.RE_RECORD: (*_RUNNING, Phase.DONE),
}
"""Phases of the episode in which each event counts."""
_LABELS = (ButtonEvent.SUCCESS, ButtonEvent.FAILURE)
# Events that count repeatedly, because the episode node may reject the first.
_REPEATED = (ButtonEvent.START, ButtonEvent.RESET_DONE)


class Labels:
    """Conversion of held buttons to events."""

    def __init__(self) -> None:
        self._held: frozenset[str] = frozenset()
        self._given: set[tuple[int, ButtonEvent]] = set()
        self.stopped = False
        """True while the e-stop is pressed; `start` then releases it and has no other effect."""
        self.ignored = 0
        """Number of presses outside their phase or after the label."""

    def update(self, held: frozenset[str], episode: EpisodeState) -> list[ButtonEvent]:
        """Events of newly pressed buttons; ``held`` has the meanings of all held ones."""
        pressed, self._held = held - self._held, held
        if "e_stop" in pressed:
            self.stopped = True
            return [ButtonEvent.E_STOP]
        if self.stopped:
            if "start" not in pressed:
                return []
            self.stopped = False
            return [ButtonEvent.E_STOP_RELEASED]
        return [event for name in sorted(pressed) if self._counts(event := ButtonEvent(name), episode)]

    def ignore_held(self) -> None:
        """Ignore held buttons until their next press, after a reconnection of the device."""
        self._held = frozenset(event.value for event in ButtonEvent)

    def _counts(self, event: ButtonEvent, episode: EpisodeState) -> bool:
        once = {(episode.episode, label) for label in (_LABELS if event in _LABELS else (event,))}
        if episode.phase not in _PHASES[event] or (event not in _REPEATED and once & self._given):
            self.ignored += 1
            return False
        self._given = {(number, label) for number, label in self._given if number == episode.episode}
        self._given.add((episode.episode, event))
        return True
