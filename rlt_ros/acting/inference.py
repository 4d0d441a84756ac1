"""Action chunks and RL states from observations, steps, episode states and chunk requests; free of ROS.

A request is answered from the observation that belongs to it. In the critical phase every window start also gets its RL
state, from the observation that precedes that control step, for the replay. If the arm waits at a chunk border
(`block`), the observations inside the last chunk and the one at the border go through the VLA in one batch, exactly as
in :class:`rlt_ros.experiments.rollout.Rollout`, and the same seed gives the same numbers. If it does not wait
(`overlap`), the chunk comes first and the states follow while the next request is some steps away.

A new policy takes effect with the next chunk, including one whose VLA pass is running and one that the arm has not
begun. A chunk is sampled from exactly one policy.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

from rlt_ros.acting.chunk_server import ChunkServer, Output
from rlt_ros.acting.episode_context import EpisodeContext
from rlt_ros.acting.inference_config import InferenceConfig
from rlt_ros.acting.observation_buffer import ObservationBuffer
from rlt_ros.acting.policy_holder import PolicyHolder
from rlt_ros.acting.state_recorder import StateRecorder
from rlt_ros.learning.checkpoint import PolicyUpdate
from rlt_ros.perception import Observation
from rlt_ros.replay.stream import ActionChunk, ChunkRequest, EpisodeState, Phase
from rlt_ros.rlt.config import RLTConfig, Shapes
from rlt_ros.vla.frozen import FrozenEncoder

ENDED_EPISODES = 10
"""Numbers of ended episodes that are kept, to ignore late requests and steps."""


class Inference:
    """Inputs in any order; chunks and states out by :meth:`work`.

    Args:
        encoder: VLA and RL token.
        rlt: chunk, stride and exploration.
        config: time-outs and staleness.
        hz: control rate, 1/s.
        on_reject: called with kind and detail of everything that is not used; the kind names its counter.
        clock: steady seconds.

    Attributes:
        shapes: sizes of states and actions.
        lineage: fingerprints of VLA, token and statistics.
    """

    def __init__(
        self,
        encoder: FrozenEncoder,
        rlt: RLTConfig,
        config: InferenceConfig,
        hz: float,
        on_reject: Callable[[str, str], None],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._on_reject, self._clock = on_reject, clock
        space = encoder.action_space
        self.shapes = Shapes(encoder.z_dim, 2 * space.dim, rlt.chunk, space.dim)
        self.lineage = encoder.lineage
        self._buffer = ObservationBuffer()
        self._episodes: dict[int, EpisodeContext] = {}
        # Steps of an episode whose state has not arrived.
        self._early: tuple[int, dict[int, int]] = (0, {})
        self._ended: deque[int] = deque(maxlen=ENDED_EPISODES)
        self._policy = PolicyHolder(rlt.sigma, config.stale_after)
        max_age = int(config.max_observation_age * 1e9)

        def is_overdue(since: float) -> bool:
            return clock() - since >= config.patience

        self._recorder = StateRecorder(
            encoder, rlt, hz, self._buffer, max_age=max_age, is_overdue=is_overdue, on_reject=on_reject
        )
        self._server = ChunkServer(
            self._recorder,
            self._policy,
            self._buffer,
            self._episodes,
            max_age=max_age,
            is_overdue=is_overdue,
            on_reject=on_reject,
            clock=clock,
        )

    # -- inputs ------------------------------------------------------------------------------------------------------

    def observe(self, observation: Observation) -> None:
        """Add an observation."""
        if not self._buffer.add(observation, self._clock()):
            self._on_reject(
                "observation out of order", f"an observation of {observation.stamp} ns came late or twice"
            )

    def add_step(self, episode: int, step: int, stamp: int) -> None:
        """Add the stamp of a control step's command, ns."""
        context = self._episodes.get(episode)
        if context is not None:
            context.add_step(step, stamp)
        elif episode not in self._ended:
            if self._early[0] != episode:
                self._early = (episode, {})
            self._early[1][step] = stamp

    def update_episode(self, state: EpisodeState) -> None:
        """Begin, update or end an episode."""
        number = state.episode
        context = self._episodes.get(number)
        if state.phase is not Phase.DONE:
            if context is not None and context.ended_at is None:
                context.state = state
            elif state.phase is not Phase.IDLE:
                self._begin(state)
        elif context is not None and context.ended_at is None:
            context.state, context.ended_at = state, self._clock()
            self._ended.append(number)
            if context.stored and state.steps > 0:
                self._policy.count_episode()
            self._server.cancel(number)

    def _begin(self, state: EpisodeState) -> None:
        number = state.episode
        self._episodes.pop(number, None)
        self._episodes[number] = context = EpisodeContext(state)
        if number in self._ended:
            self._ended.remove(number)
        if self._early[0] == number:
            for step, stamp in self._early[1].items():
                context.add_step(step, stamp)
        # One that runs, and one whose last states are still computed.
        for old in list(self._episodes)[:-2]:
            del self._episodes[old]

    def request(self, request: ChunkRequest) -> None:
        """Add a chunk request; a repetition while it is pending changes nothing."""
        joints = self.shapes.action_dim
        if request.phase not in (Phase.APPROACH, Phase.CRITICAL):
            self._on_reject("malformed request", f"a chunk was requested in phase {request.phase.name}")
        elif request.expected is not None and request.expected.shape != (joints,):
            self._on_reject(
                "malformed request",
                f"the expected position has {request.expected.size} joints; the arm has {joints}",
            )
        elif request.episode not in self._ended:
            self._server.request(request)

    def accept(self, update: PolicyUpdate, *, ages: bool = True) -> ActionChunk | None:
        """Use a policy from the next chunk on; with ``ages`` it becomes stale unless a newer one follows.

        The only method that may be called from another thread, so that a chunk in progress uses the new policy.

        Returns:
            The newest chunk, sampled again from this policy, if the arm has not begun it; it replaces the former one.
        """
        return self._server.accept(update, ages=ages)

    # -- status ------------------------------------------------------------------------------------------------------

    @property
    def version(self) -> int:
        """Version of the policy in use; 0 without one."""
        return self._policy.version

    @property
    def fallback_reason(self) -> str | None:
        """Reason for sending the VLA's reference instead of the policy's action; None without one."""
        return self._server.fallback_reason

    @property
    def token_fault(self) -> str | None:
        """Reason for recording no states: the token is constant; None without one."""
        return self._recorder.token_fault

    @property
    def missing_input(self) -> str | None:
        """Input that the pending request waits for; None without one."""
        return self._server.missing_input

    @property
    def busy(self) -> bool:
        """True if :meth:`work` can progress by time-outs alone, without a new message."""
        return self._server.pending or any(one.ended_at is not None for one in self._episodes.values())

    # -- outputs -----------------------------------------------------------------------------------------------------

    def work(self) -> list[Output]:
        """Compute all outputs that are possible now; states come in the order of their steps."""
        output = self._server.serve()
        if output and self._server.has_idle_budget:
            # A moving arm waits for the chunk; states follow with the next call.
            return output
        for number, context in list(self._episodes.items()):
            if context.ended_at is not None:
                states = self._recorder.finish(context)
                if states is not None:
                    del self._episodes[number]
                    output += states
            elif not self._server.pending:
                output += self._recorder.catch_up(context)
        if self.token_fault:
            # Rows without information would stay in the replay.
            return [record for record in output if isinstance(record, ActionChunk)]
        return output
