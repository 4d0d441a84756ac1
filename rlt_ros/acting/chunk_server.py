"""Replies to chunk requests: VLA reference or policy action, from the observation that belongs to the request."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import TypeAlias

from rlt_ros.acting.episode_context import ChunkReply, EpisodeContext
from rlt_ros.acting.observation_buffer import ObservationBuffer, StateQuery, TimedObservation
from rlt_ros.acting.policy_holder import PolicyHolder
from rlt_ros.acting.state_recorder import STAMP_TOLERANCE_NS, StateRecorder
from rlt_ros.learning.checkpoint import PolicyUpdate
from rlt_ros.replay.stream import ActionChunk, ChunkRequest, Phase, StateRecord
from rlt_ros.rlt.transition import Source
from rlt_ros.robots.turns import Array, nearest_turn

Output: TypeAlias = "StateRecord | ActionChunk"


class ChunkServer:
    """Serve one chunk request at a time.

    Args:
        recorder: RL states.
        policy: policy in use.
        buffer: received observations.
        episodes: contexts of the current episodes by number.
        max_age: largest distance of observation and request, ns.
        is_overdue: True if the time-out since a steady time, s, has passed.
        on_reject: called with kind and detail of everything that is not used.
        clock: steady seconds.
    """

    def __init__(
        self,
        recorder: StateRecorder,
        policy: PolicyHolder,
        buffer: ObservationBuffer,
        episodes: Mapping[int, EpisodeContext],
        *,
        max_age: int,
        is_overdue: Callable[[float], bool],
        on_reject: Callable[[str, str], None],
        clock: Callable[[], float],
    ) -> None:
        self._recorder, self._policy, self._buffer, self._episodes = recorder, policy, buffer, episodes
        self._max_age, self._is_overdue = max_age, is_overdue
        self._on_reject, self._clock = on_reject, clock
        self._request: ChunkRequest | None = None
        self._requested_at = 0.0
        # Held while a chunk is sampled and stored as the newest reply.
        self._sampling = threading.Lock()
        self._chunks = 0
        self._newest: EpisodeContext | None = None

    @property
    def pending(self) -> bool:
        """True while a request has no reply."""
        return self._request is not None

    @property
    def has_idle_budget(self) -> bool:
        """True if the newest reply went to a moving arm, whose next request is some steps away."""
        return self._newest is not None and self._newest.has_idle_budget

    @property
    def fallback_reason(self) -> str | None:
        """Reason for sending the VLA's reference instead of the policy's action; None without one."""
        return self._policy.block_reason or self._recorder.token_fault

    def request(self, request: ChunkRequest) -> None:
        """Accept a request in place of the pending one; a repetition of the pending one changes nothing."""
        if self._request is None or not self._request.same(request):
            self._request, self._requested_at = request, self._clock()

    def cancel(self, episode: int) -> None:
        """Drop the pending request of an episode."""
        if self._request and self._request.episode == episode:
            self._request = None

    def accept(self, update: PolicyUpdate, *, ages: bool) -> ActionChunk | None:
        """Use a policy from now on; see `Inference.accept`."""
        self._policy.accept(update, ages=ages)
        with self._sampling:
            context = self._newest
            before = context.replaceable_reply if context else None
            if context is None or before is None or before.chunk.version == update.version:
                return None
            chunk = self._sample(context, before.request, before.record, before.arrived)
            if chunk.version == update.version:
                return chunk
            context.reply = before
        return None

    @property
    def missing_input(self) -> str | None:
        """Input that the pending request still waits for; None without one."""
        request = self._request
        if request is None:
            return None
        context = self._episodes.get(request.episode)
        if context is None:
            return f"the state of episode {request.episode}"
        if self._observation(request) is None:
            return f"an observation of {request.stamp / 1e9:.3f} s"
        critical = request.phase is Phase.CRITICAL and context.start is not None
        if critical and context.stored and not request.overlap:
            inside = range(context.next_state_step, request.step)
            missing = next((step for step in inside if step not in context.stamps), None)
            if missing is not None and not self._is_overdue(self._requested_at):
                return f"step {missing}"
        return None

    def serve(self) -> list[Output]:
        """Reply to the pending request, preceded by the states of its chunk; empty while an input is missing."""
        request = self._request
        if request is None:
            return []
        context = self._episodes.get(request.episode)
        if context and context.reply and context.reply.request.same(request):
            self._request = None
            return [context.reply.chunk]
        if self.missing_input:
            return []
        source = self._observation(request)
        assert context is not None
        assert source is not None
        self._request = None
        critical = request.phase is Phase.CRITICAL
        if critical and context.start is None:
            context.start = context.next_state_step = request.step
        queries: list[StateQuery] = []
        if critical and context.stored and not request.overlap:
            queries = self._recorder.queries(context, request.step)
        lookahead = context.add_lookahead(request, source.observation.stamp)
        queries.append(StateQuery(request.step, source, lookahead, self._expected(request, source)))
        states = self._recorder.encode(context, queries)
        if not states:
            return []
        with self._sampling:
            chunk = self._sample(context, request, states[-1], source.arrived)
        context.has_idle_budget = request.overlap
        if request.overlap or not critical:
            states = []
        elif context.stored:
            states = self._recorder.select(context, states, request.step)
        return [*states, chunk]

    def _expected(self, request: ChunkRequest, source: TimedObservation) -> Array | None:
        """Joint positions (A,) rad at the beginning of the chunk, in the turns of the observation."""
        if request.expected is None:
            return None
        return nearest_turn(request.expected, source.observation.position, self._recorder.continuous)

    def _observation(self, request: ChunkRequest) -> TimedObservation | None:
        """Observation of a request; None while it has not arrived."""
        newest = self._buffer.newest
        if newest is None:
            return None
        exact = self._buffer.after(request.stamp - STAMP_TOLERANCE_NS, at_most=self._max_age)
        if exact:
            return exact
        # An earlier one serves if cameras lag behind. If none arrive at all, the arm must hold.
        if self._is_overdue(self._requested_at) and newest.arrived > self._requested_at:
            return self._buffer.before(request.stamp, at_most=self._max_age)
        return None

    def _sample(
        self, context: EpisodeContext, request: ChunkRequest, record: StateRecord, arrived: float
    ) -> ActionChunk:
        state, policy = record.state, None
        action = state.reference
        if request.phase is Phase.CRITICAL and not self.fallback_reason:
            sampled = self._policy.sample(state, explore=None if context.state.eval else context.exploration)
            if sampled is None:
                self._on_reject(
                    "not finite", f"action of policy {self._policy.version} for step {state.step}"
                )
            else:
                action, policy = sampled
        self._chunks += 1
        chunk = ActionChunk(
            stamp=record.stamp,
            episode=request.episode,
            chunk=self._chunks,
            step=request.step,
            source=Source.ACTOR if policy else Source.VLA,
            anchor=state.anchor,
            scale=self._recorder.scale,
            reference=state.reference,
            action=action,
            version=policy.version if policy else 0,
            lineage=policy.lineage if policy else self._recorder.lineage,
            latency=int((self._clock() - arrived) * 1e9),
        )
        context.reply, self._newest = ChunkReply(request, record, arrived, chunk), context
        return chunk
