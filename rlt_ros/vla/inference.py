"""From observations and requests to action chunks and RL states: the part of the inference that knows no ROS.

It answers a request for a chunk from the observation that belongs to it. In the critical phase it also makes the RL
state of every window start, from the observation that precedes that control step, for the replay. Where the arm waits
at a chunk border (`block`), the frames inside the last chunk and the one at the border go through the VLA in one batch,
as in :class:`rlt_ros.experiments.rollout.Rollout`, and the same seed gives the same numbers. Where it does
not wait (`overlap`), the chunk comes first, and the states follow while the next request is some steps away.

A new actor is used from the next chunk on, also from one whose VLA pass is running, and from one that is chosen but
not begun: a chunk is always of one actor.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import TypeAlias

import numpy as np

from rlt_ros.perception import Observation
from rlt_ros.rlt.checkpoint import PolicyUpdate
from rlt_ros.rlt.config import RLTConfig, Shapes
from rlt_ros.rlt.lineage import Lineage
from rlt_ros.rlt.stream import ActionChunk, ChunkRequest, EpisodeState, Phase, StateRecord
from rlt_ros.rlt.transition import Source
from rlt_ros.robots.turns import Array, nearest_turn
from rlt_ros.vla.acting import Acting
from rlt_ros.vla.alignment import Frame, Seen, Timeline
from rlt_ros.vla.config import InferenceConfig
from rlt_ros.vla.frozen import Perceiver
from rlt_ros.vla.request import Answer, Run
from rlt_ros.vla.token_watch import TokenWatch

Output: TypeAlias = "StateRecord | ActionChunk"

_NS = 1e9
_TOLERANCE = 1_000_000  # ns between stamps that mean the same moment


class Inference:
    """See the module.

    Args:
        perceiver: the frozen half.
        rlt: chunk, stride and exploration.
        config: waiting and ageing.
        hz: control rate, 1/s.
        drop: told of everything that is not used: its kind in two or three words, and this one with its values.
        clock: steady seconds.

    Attributes:
        shapes: sizes of states and actions.
        lineage: of the frozen half.
    """

    def __init__(
        self,
        perceiver: Perceiver,
        rlt: RLTConfig,
        config: InferenceConfig,
        hz: float,
        drop: Callable[[str, str], None],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._perceiver, self._rlt, self._config, self._hz = perceiver, rlt, config, hz
        self._drop, self._clock = drop, clock
        self._scale = perceiver.action_space.scale.astype(np.float32)
        dim = perceiver.action_space.dim
        self.shapes = Shapes(perceiver.z_dim, 2 * dim, rlt.chunk, dim)
        self.lineage: Lineage = perceiver.lineage
        self._max_age = int(config.max_observation_age * _NS)
        self._timeline, self._tokens = Timeline(), TokenWatch()
        self._runs: dict[int, Run] = {}
        self._early: tuple[int, dict[int, int]] = (
            0,
            {},
        )  # an episode that is not announced yet, and its steps
        self._request: ChunkRequest | None = None
        self._asked = 0.0
        self._choosing = threading.Lock()  # around what a choice reads and leaves behind
        self._chunks = 0
        self._newest: Run | None = None  # that the newest chunk is for
        self._acting = Acting(rlt.sigma, config.stale_after)
        self._ended: deque[int] = deque(maxlen=10)

    # -- what comes in -----------------------------------------------------------------------------------------------

    def observe(self, observation: Observation) -> None:
        """Take an observation."""
        if not self._timeline.add(observation, self._clock()):
            self._drop(
                "observation out of order", f"an observation of {observation.stamp} ns came late or twice"
            )

    def executed(self, episode: int, step: int, stamp: int) -> None:
        """Note when the command of a control step was sent."""
        run = self._runs.get(episode)
        if run is not None:
            run.executed(step, stamp)
        elif episode not in self._ended:
            if self._early[0] != episode:
                self._early = (episode, {})
            self._early[1][step] = stamp

    def follow(self, state: EpisodeState) -> None:
        """Note where the episode is."""
        number = state.episode
        run = self._runs.get(number)
        if state.phase is not Phase.DONE:
            if run is not None and run.over_since is None:
                run.state = state
            elif state.phase is not Phase.IDLE:
                self._begin(state)
        elif run is not None and run.over_since is None:
            run.state, run.over_since = state, self._clock()
            self._ended.append(number)
            if run.stored and state.steps > 0:
                self._acting.trained()
            if self._request and self._request.episode == number:
                self._request = None

    def _begin(self, state: EpisodeState) -> None:
        number = state.episode
        self._runs.pop(number, None)
        self._runs[number] = run = Run(state)
        if number in self._ended:
            self._ended.remove(number)
        if self._early[0] == number:
            for step, stamp in self._early[1].items():
                run.executed(step, stamp)
        for old in list(self._runs)[:-2]:  # one that runs, and one whose last states are still computed
            del self._runs[old]

    def ask(self, request: ChunkRequest) -> None:
        """Take a request; one that is asked again while it is answered changes nothing."""
        if request.phase not in (Phase.APPROACH, Phase.CRITICAL):
            self._drop("malformed request", f"a chunk was asked for in phase {request.phase.name}")
        elif request.expected is not None and request.expected.shape != (self.shapes.action_dim,):
            dims = self.shapes.action_dim
            self._drop(
                "malformed request",
                f"{request.expected.size} joints are expected somewhere; the arm has {dims}",
            )
        elif request.episode in self._ended:
            return  # the executor had not heard of the end yet
        elif self._request is None or not self._request.same(request):
            self._request, self._asked = request, self._clock()

    def use(self, update: PolicyUpdate, *, ages: bool = True) -> ActionChunk | None:
        """Act with this actor from the next choice on; one that ``ages`` becomes stale where no newer one follows.

        The one method that may be called from another thread, so that the chunk which is being made gets it too.

        Returns:
            The newest chunk, chosen anew by this actor, where the arm has not begun it; it takes the other's place.
        """
        self._acting.use(update, ages=ages)
        with self._choosing:
            run = self._newest
            before = run.unbegun if run else None
            if run is None or before is None or before.chunk.version == update.version:
                return None
            chunk = self._choose(run, before.request, before.record, before.arrived)
            if chunk.version == update.version:
                return chunk
            run.answer = before
        return None

    # -- what it says of itself --------------------------------------------------------------------------------------

    @property
    def version(self) -> int:
        """Of the actor at hand; 0 without one."""
        return self._acting.update.version if self._acting.update else 0

    @property
    def fallback(self) -> str:
        """Why the VLA acts in the actor's place, in words; empty when the actor acts."""
        return self._acting.obstacle or self._tokens.verdict

    @property
    def token_fault(self) -> str:
        """Why no states are given, in words: the token tells nothing; empty when it does."""
        return self._tokens.verdict

    @property
    def waiting_for(self) -> str:
        """What the request at hand waits for, in words; empty without one."""
        return self._obstacle() if self._request else ""

    @property
    def busy(self) -> bool:
        """Return whether time alone may let :meth:`work` go on."""
        return self._request is not None or any(run.over_since is not None for run in self._runs.values())

    # -- what goes out -----------------------------------------------------------------------------------------------

    def work(self) -> list[Output]:
        """Do what can be done now. States come in the order of their steps."""
        output = self._answer()
        if output and self._newest and self._newest.has_time:
            return output  # a moving arm waits for it; what is owed comes next
        for number, run in list(self._runs.items()):
            if run.over_since is not None:
                output += self._close(number, run)
            elif self._request is None:
                output += self._catch_up(run)
        if self._tokens.verdict:  # rows without information would be there for good
            return [record for record in output if isinstance(record, ActionChunk)]
        return output

    def _answer(self) -> list[Output]:
        request = self._request
        if request is None:
            return []
        run = self._runs.get(request.episode)
        if run and run.answer and run.answer.request.same(request):
            self._request = None
            return [run.answer.chunk]
        if self._obstacle():
            return []
        assert run is not None
        seen = self._observation(request)
        assert seen is not None
        self._request = None
        critical = request.phase is Phase.CRITICAL
        if critical and run.start is None:
            run.start = run.due = request.step
        frames: list[Frame] = []
        if critical and run.stored and not request.overlap:
            frames = self._frames(run, request.step)
        ahead = run.look_ahead(request, seen.observation.stamp)
        expected = self._expected(request, seen)
        states = self._states(run, [*frames, Frame(request.step, seen, ahead, expected)])
        if not states:
            return []
        with self._choosing:
            chunk = self._choose(run, request, states[-1], seen.arrived)
        run.has_time = request.overlap
        if request.overlap or not critical:
            states = []
        elif run.stored:
            states = self._owed(run, states, request.step)
        return [*states, chunk]

    def _expected(self, request: ChunkRequest, seen: Seen) -> Array | None:
        """Positions (A,) rad that the arm will have when the chunk begins, in the turns of the observation.

        The executor may have begun in another turn of a joint that turns without end.
        """
        if request.expected is None:
            return None
        continuous = self._perceiver.action_space.continuous
        return nearest_turn(request.expected, seen.observation.position, continuous)

    def _obstacle(self) -> str:
        """What the pending request still waits for."""
        request = self._request
        assert request is not None
        run = self._runs.get(request.episode)
        if run is None:
            return f"the state of episode {request.episode}"
        if self._observation(request) is None:
            return f"an observation of {request.stamp / _NS:.3f} s"
        inside = range(run.due, request.step)
        if request.phase is Phase.CRITICAL and run.start is not None and run.stored and not request.overlap:
            missing = next((step for step in inside if step not in run.stamps), None)
            if missing is not None and not self._is_overdue(self._asked):
                return f"step {missing}"
        return ""

    def _observation(self, request: ChunkRequest) -> Seen | None:
        """The observation that a request is to be answered from; None while it has not come."""
        newest = self._timeline.newest
        if newest is None:
            return None
        exact = self._timeline.after(request.stamp - _TOLERANCE, at_most=self._max_age)
        if exact:
            return exact
        # One of before will do where pictures lag behind, not where none come any more: then the arm shall hold.
        if self._is_overdue(self._asked) and newest.arrived > self._asked:
            return self._timeline.before(request.stamp, at_most=self._max_age)
        return None

    def _frames(self, run: Run, stop: int) -> list[Frame]:
        """What those steps' states are made from that are owed, from ``run.due`` up to, not with, ``stop``."""
        steps = range(run.due, stop, self._rlt.stride)
        return [frame for step in steps if (frame := self._frame(run, step, run.stamps.get(step)))]

    def _frame(self, run: Run, step: int, stamp: int | None) -> Frame | None:
        """What the state of a step is made from whose command was sent at ``stamp``, ns; None where it is not there."""
        ahead = run.ahead(step)
        moment = stamp if ahead == 0 else run.stamps.get(step - ahead)
        if stamp is not None and moment is not None:
            seen = self._timeline.before(moment + _TOLERANCE, at_most=self._max_age)
            if seen:
                return Frame(step, seen, ahead, self._timeline.position(stamp) if ahead else None)
        self._drop("state left out", f"step {step} of episode {run.state.episode} has no observation")
        return None

    def _owed(self, run: Run, states: list[StateRecord], stop: int) -> list[StateRecord]:
        """Those of the states up to and with step ``stop`` that windows start at; the next one is due after them."""
        assert run.start is not None
        stride = self._rlt.stride
        run.due = run.start + ((stop - run.start) // stride + 1) * stride
        return [record for record in states if (record.state.step - run.start) % stride == 0]

    def _catch_up(self, run: Run) -> list[Output]:
        """States that are owed though no request asks: the arm does not wait, or a human acts."""
        if run.start is None or not run.stored:
            return []
        last = run.last
        while last > run.due and not self._is_seen(run.stamps.get(last)):
            last -= 1
        # With `block` the request at the next border asks for them, in one batch with its own.
        if last - run.due < (self._rlt.stride if run.has_time else 2 * self._rlt.chunk):
            return []
        run.has_time = False
        states = self._states(run, self._frames(run, last + 1))
        return [*self._owed(run, states, last)]

    def _close(self, number: int, run: Run) -> list[Output]:
        """The states that an episode which is over still owes."""
        assert run.over_since is not None
        steps = run.state.steps
        if run.start is None or not run.stored or steps == 0:
            del self._runs[number]
            return []
        stop = run.start + steps
        # A state of just that step is there where a request was for it.
        told = run.due > stop and (stop - run.start) % self._rlt.stride == 0
        cut = not run.state.ending.terminated and not told
        owed = range(run.due, stop, self._rlt.stride)
        missing = any(step not in run.stamps for step in range(run.due, stop))
        final = self._final(run, stop) if cut else None
        if cut or owed:
            missing = missing or not self._is_seen(final if cut else run.stamps.get(owed[-1]))
        if missing and not self._is_overdue(run.over_since):
            return []
        stop = min(stop, run.last + 1)  # what nobody heard of has no state
        frames = self._frames(run, stop)
        if final is not None:
            last = self._frame(run, stop, final)
            frames += [last] if last else []
        del self._runs[number]
        return [*self._states(run, frames)]

    def _is_seen(self, stamp: int | None) -> bool:
        """Return whether the newest observation is of this moment or later, so that no better one is to come."""
        newest = self._timeline.newest
        return stamp is not None and newest is not None and newest.observation.stamp >= stamp - _TOLERANCE

    def _final(self, run: Run, stop: int) -> int | None:
        """When the step after the last would have been commanded, ns."""
        last, before = run.stamps.get(stop - 1), run.stamps.get(stop - 2)
        return None if last is None or before is None else 2 * last - before

    def _states(self, run: Run, frames: list[Frame]) -> list[StateRecord]:
        """States from one pass of the VLA over ``frames``; none where it fails."""
        if not frames:
            return []
        observations = [frame.seen.observation for frame in frames]
        try:
            seen = self._perceiver.perceive(observations, run.state.instruction, run.noise)
        except ValueError as error:
            self._drop(
                "refused by the VLA", f"step {frames[-1].step} of episode {run.state.episode}: {error}"
            )
            return []
        if not (np.isfinite(seen.z).all() and np.isfinite(seen.chunk).all()):
            self._drop(
                "not finite", f"token or chunk of step {frames[-1].step} of episode {run.state.episode}"
            )
            return []
        for z, observation in zip(seen.z, observations, strict=True):
            self._tokens.add(z, observation.position)
        states = seen.states([frame.step for frame in frames], observations, self._rlt.chunk)
        for index, frame in enumerate(frames):
            if frame.ahead and frame.position is not None:
                states[index] = seen.later(
                    index, states[index], frame.ahead, frame.position, self._perceiver.action_space, self._hz
                )
        return [
            StateRecord(
                stamp=observation.stamp,
                episode=run.state.episode,
                lineage=self.lineage,
                state=state,
                scale=self._scale,
            )
            for observation, state in zip(observations, states, strict=True)
        ]

    def _choose(self, run: Run, request: ChunkRequest, record: StateRecord, arrived: float) -> ActionChunk:
        state, acted = record.state, None
        action = state.reference
        if request.phase is Phase.CRITICAL and not self.fallback:
            chosen = self._acting.choose(state, explore=None if run.state.eval else run.exploration)
            if chosen is None:
                self._drop("not finite", f"action of policy {self.version} for step {state.step}")
            else:
                action, acted = chosen
        self._chunks += 1
        chunk = ActionChunk(
            stamp=record.stamp,
            episode=request.episode,
            chunk=self._chunks,
            step=request.step,
            source=Source.ACTOR if acted else Source.VLA,
            anchor=state.anchor,
            scale=self._scale,
            reference=state.reference,
            action=action,
            version=acted.version if acted else 0,
            lineage=acted.lineage if acted else self.lineage,
            latency=int((self._clock() - arrived) * _NS),
        )
        run.answer, self._newest = Answer(request, record, arrived, chunk), run
        return chunk

    def _is_overdue(self, since: float) -> bool:
        return self._clock() - since >= self._config.patience
