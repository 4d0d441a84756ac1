"""RL states of the replay: one for every window start of the critical phase."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from rlt_ros.acting.episode_context import EpisodeContext
from rlt_ros.acting.observation_buffer import ObservationBuffer, StateQuery
from rlt_ros.acting.token_monitor import TokenMonitor
from rlt_ros.replay.stream import StateRecord
from rlt_ros.rlt.config import RLTConfig
from rlt_ros.robots.turns import Mask
from rlt_ros.vla.frozen import FrozenEncoder

STAMP_TOLERANCE_NS = 1_000_000
"""Distance of stamps that mean the same moment."""


class StateRecorder:
    """Compute RL states from the observations that precede their control steps.

    Args:
        encoder: VLA and RL token.
        rlt: chunk and stride.
        hz: control rate, 1/s.
        buffer: received observations.
        max_age: largest age of an observation at its control step, ns.
        is_overdue: True if the time-out since a steady time, s, has passed.
        on_reject: called with kind and detail of everything that is not used.

    Attributes:
        lineage: fingerprints of VLA, token and statistics.
        scale: (A,) rad per policy unit.
    """

    def __init__(
        self,
        encoder: FrozenEncoder,
        rlt: RLTConfig,
        hz: float,
        buffer: ObservationBuffer,
        *,
        max_age: int,
        is_overdue: Callable[[float], bool],
        on_reject: Callable[[str, str], None],
    ) -> None:
        self._encoder, self._rlt, self._hz, self._buffer = encoder, rlt, hz, buffer
        self._max_age, self._is_overdue, self._on_reject = max_age, is_overdue, on_reject
        self._tokens = TokenMonitor()
        self.lineage = encoder.lineage
        self.scale = encoder.action_space.scale.astype(np.float32)

    @property
    def continuous(self) -> Mask | None:
        """(A,) joints without a turn limit; None for none."""
        return self._encoder.action_space.continuous

    @property
    def token_fault(self) -> str | None:
        """Reason for recording no states; None without one."""
        return self._tokens.fault

    def queries(self, context: EpisodeContext, stop: int) -> list[StateQuery]:
        """Queries of all states that the replay needs before step ``stop``."""
        steps = range(context.next_state_step, stop, self._rlt.stride)
        return [query for step in steps if (query := self._query(context, step, context.stamps.get(step)))]

    def encode(self, context: EpisodeContext, queries: list[StateQuery]) -> list[StateRecord]:
        """States from one pass of the VLA over ``queries``; empty if the pass fails."""
        if not queries:
            return []
        observations = [query.source.observation for query in queries]
        newest = f"step {queries[-1].step} of episode {context.state.episode}"
        try:
            features = self._encoder.encode(observations, context.state.instruction, context.noise)
        except ValueError as error:
            self._on_reject("refused by the VLA", f"{newest}: {error}")
            return []
        if not (np.isfinite(features.z).all() and np.isfinite(features.chunk).all()):
            self._on_reject("not finite", f"token or chunk of {newest}")
            return []
        for z, observation in zip(features.z, observations, strict=True):
            self._tokens.add(z, observation.position)
        states = features.states([query.step for query in queries], observations, self._rlt.chunk)
        for index, query in enumerate(queries):
            if query.lookahead and query.position is not None:
                states[index] = features.extrapolate(
                    index,
                    states[index],
                    query.lookahead,
                    query.position,
                    self._encoder.action_space,
                    self._hz,
                )
        return [
            StateRecord(
                stamp=observation.stamp,
                episode=context.state.episode,
                lineage=self.lineage,
                state=state,
                scale=self.scale,
            )
            for observation, state in zip(observations, states, strict=True)
        ]

    def select(self, context: EpisodeContext, states: list[StateRecord], stop: int) -> list[StateRecord]:
        """States of window starts among those up to and including step ``stop``; advances the next state's step."""
        assert context.start is not None
        start, stride = context.start, self._rlt.stride
        context.next_state_step = start + ((stop - start) // stride + 1) * stride
        return [record for record in states if (record.state.step - start) % stride == 0]

    def catch_up(self, context: EpisodeContext) -> list[StateRecord]:
        """States due without a request: the arm does not wait for chunks, or the human acts."""
        if context.start is None or not context.stored:
            return []
        last = context.last_step
        while last > context.next_state_step and not self._is_observed(context.stamps.get(last)):
            last -= 1
        # With `block` the request at the next border needs them, in one batch with its own state.
        if last - context.next_state_step < (
            self._rlt.stride if context.has_idle_budget else 2 * self._rlt.chunk
        ):
            return []
        context.has_idle_budget = False
        return self.select(context, self.encode(context, self.queries(context, last + 1)), last)

    def finish(self, context: EpisodeContext) -> list[StateRecord] | None:
        """Remaining states of an episode that has ended; None while their steps or observations are awaited."""
        assert context.ended_at is not None
        steps = context.state.steps
        if context.start is None or not context.stored or steps == 0:
            return []
        stop = context.start + steps
        # A request for exactly this step has already produced its state.
        recorded = context.next_state_step > stop and (stop - context.start) % self._rlt.stride == 0
        needs_final = not context.state.outcome.terminated and not recorded
        final = self._final_stamp(context, stop) if needs_final else None
        if self._is_incomplete(context, stop, needs_final, final) and not self._is_overdue(context.ended_at):
            return None
        # Steps without a message have no state.
        stop = min(stop, context.last_step + 1)
        queries = self.queries(context, stop)
        if final is not None:
            last = self._query(context, stop, final)
            queries += [last] if last else []
        return self.encode(context, queries)

    def _is_incomplete(
        self, context: EpisodeContext, stop: int, needs_final: bool, final: int | None
    ) -> bool:
        """True while a step or the observation of the last state is missing."""
        if any(step not in context.stamps for step in range(context.next_state_step, stop)):
            return True
        due = range(context.next_state_step, stop, self._rlt.stride)
        if not (needs_final or due):
            return False
        return not self._is_observed(final if needs_final else context.stamps.get(due[-1]))

    def _query(self, context: EpisodeContext, step: int, stamp: int | None) -> StateQuery | None:
        """Query of the state of a step commanded at ``stamp``, ns; None without an observation."""
        lookahead = context.lookahead(step)
        moment = stamp if lookahead == 0 else context.stamps.get(step - lookahead)
        if stamp is not None and moment is not None:
            source = self._buffer.before(moment + STAMP_TOLERANCE_NS, at_most=self._max_age)
            if source:
                position = self._buffer.position(stamp) if lookahead else None
                return StateQuery(step, source, lookahead, position)
        self._on_reject(
            "state left out", f"step {step} of episode {context.state.episode} has no observation"
        )
        return None

    def _is_observed(self, stamp: int | None) -> bool:
        """True if the newest observation is of ``stamp`` or later, so that no closer one can arrive."""
        newest = self._buffer.newest
        return (
            stamp is not None
            and newest is not None
            and newest.observation.stamp >= stamp - STAMP_TOLERANCE_NS
        )

    def _final_stamp(self, context: EpisodeContext, stop: int) -> int | None:
        """Time at which the step after the last would have been commanded, ns."""
        last, before = context.stamps.get(stop - 1), context.stamps.get(stop - 2)
        return None if last is None or before is None else 2 * last - before
