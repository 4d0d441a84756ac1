"""State of the inference during one episode."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from rlt_ros.replay.stream import ActionChunk, ChunkRequest, EpisodeState, Phase, StateRecord


@dataclass(frozen=True)
class ChunkReply:
    """Reply to a chunk request.

    Attributes:
        request: the request.
        record: RL state that the chunk was sampled in.
        arrived: arrival of its observation, s on the steady clock.
        chunk: the reply.
    """

    request: ChunkRequest
    record: StateRecord
    arrived: float
    chunk: ActionChunk


class EpisodeContext:
    """Context of one episode: executed steps, random generators, and the states that the replay still needs.

    Attributes:
        state: newest message of the episode's state.
        stamps: control step → stamp of its command, ns.
        last_step: newest of these steps; -1 before the first.
        start: first step of the critical phase; None before it.
        next_state_step: step of the next state that the replay needs.
        lookaheads: (first step, lookahead): from this step on, observations are so many steps old.
        reply: reply to the newest request.
        has_idle_budget: with overlap, the newest reply was sent last and the next request is some steps away.
        ended_at: end of the episode, s on the steady clock; None before it.
    """

    def __init__(self, state: EpisodeState) -> None:
        self.state = state
        # Without a simulation there is no seed, and every episode needs its own.
        seed = state.seed or state.episode
        self.noise = torch.Generator().manual_seed(seed)
        self.exploration = torch.Generator().manual_seed(seed)
        self.stamps: dict[int, int] = {}
        self.last_step = -1
        self.start: int | None = None
        self.next_state_step = 0
        self.lookaheads: list[tuple[int, int]] = []
        self.reply: ChunkReply | None = None
        self.has_idle_budget = False
        self.ended_at: float | None = None

    def add_step(self, step: int, stamp: int) -> None:
        """Record the stamp of a step's command, ns."""
        self.stamps[step] = stamp
        self.last_step = max(self.last_step, step)

    def add_lookahead(self, request: ChunkRequest, stamp: int) -> int:
        """Record and return the steps from the observation of ``stamp``, ns, to the step of a request."""
        lookahead = 0
        if request.expected is not None:
            step = min(
                (step for step, sent in self.stamps.items() if sent >= stamp), default=self.last_step + 1
            )
            lookahead = max(request.step - step, 0)
        self.lookaheads.append((request.step, lookahead))
        return lookahead

    def lookahead(self, step: int) -> int:
        """Steps from the observation that the state of ``step`` is computed from to ``step``."""
        return next((ahead for start, ahead in reversed(self.lookaheads) if start <= step), 0)

    @property
    def replaceable_reply(self) -> ChunkReply | None:
        """Newest reply, unless the arm has begun its chunk; an arm that waits for a chunk begins at once."""
        if self.reply is None or self.ended_at is not None:
            return None
        request = self.reply.request
        replaceable = request.overlap and request.phase is Phase.CRITICAL and self.last_step < request.step
        return self.reply if replaceable else None

    @property
    def stored(self) -> bool:
        """True if the replay stores rows of this episode."""
        return not (self.state.eval or self.state.discarded)
