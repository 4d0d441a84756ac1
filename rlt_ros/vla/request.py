"""What the inference is asked, how long it may wait, and what it remembers of an episode."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from rlt_ros.rlt.stream import ActionChunk, ChunkRequest, EpisodeState, Phase, StateRecord


@dataclass(frozen=True)
class Answer:
    """What was said to a request.

    Attributes:
        request: the request.
        record: the state that the chunk was chosen in.
        arrived: when its observation came, steady s.
        chunk: the answer.
    """

    request: ChunkRequest
    record: StateRecord
    arrived: float
    chunk: ActionChunk


class Run:
    """One episode as the inference sees it."""

    def __init__(self, state: EpisodeState) -> None:
        self.state = state
        seed = (
            state.seed or state.episode
        )  # without a simulation there is none, and every episode needs its own
        self.noise = torch.Generator().manual_seed(seed)
        self.exploration = torch.Generator().manual_seed(seed)
        self.stamps: dict[int, int] = {}  # step → stamp of its command, ns
        self.last = -1  # newest of these steps
        self.start: int | None = None  # first step of the critical phase
        self.due = 0  # step of the next state that is owed to the replay
        self.views: list[tuple[int, int]] = []  # from which step on states are how many steps ahead
        self.answer: Answer | None = None  # to the newest request
        self.has_time = False  # overlap: an answer just went out, and the next request is some steps away
        self.over_since: float | None = None

    def executed(self, step: int, stamp: int) -> None:
        """Note when the command of a step was sent, ns."""
        self.stamps[step] = stamp
        self.last = max(self.last, step)

    def look_ahead(self, request: ChunkRequest, stamp: int) -> int:
        """Note by how many steps a request is ahead of what was seen at ``stamp``, ns, and return it.

        The states from its step on are as far ahead.
        """
        ahead = 0
        if request.expected is not None:
            step = min((step for step, sent in self.stamps.items() if sent >= stamp), default=self.last + 1)
            ahead = max(request.step - step, 0)
        self.views.append((request.step, ahead))
        return ahead

    def ahead(self, step: int) -> int:
        """How many steps the state of a step is ahead of what it is made from."""
        return next((ahead for start, ahead in reversed(self.views) if start <= step), 0)

    @property
    def unbegun(self) -> Answer | None:
        """The newest answer, if another may take its place; an arm that waits begins at once."""
        if self.answer is None or self.over_since is not None:
            return None
        request = self.answer.request
        replaceable = request.overlap and request.phase is Phase.CRITICAL and self.last < request.step
        return self.answer if replaceable else None

    @property
    def stored(self) -> bool:
        """Return whether the replay takes its rows."""
        return not (self.state.eval or self.state.discarded)
