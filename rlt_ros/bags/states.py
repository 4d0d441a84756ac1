"""RL states of a recorded stream, as computed by the live inference.

:class:`~rlt_ros.acting.inference.Inference` receives observations, steps, episodes and requests as they were recorded,
with a clock that follows the recording; its chunks are discarded. If the arm waited for every chunk, the passes of the
VLA are the same and so are the numbers.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TypeAlias

from rlt_ros.acting.inference import Inference
from rlt_ros.acting.inference_config import InferenceConfig
from rlt_ros.perception import Observation
from rlt_ros.replay.stream import ChunkRequest, EpisodeState, StateRecord, StepRecord
from rlt_ros.rlt.config import RLTConfig
from rlt_ros.store.lineage import Lineage
from rlt_ros.vla.frozen import FrozenEncoder

Record: TypeAlias = "Observation | StepRecord | EpisodeState | ChunkRequest"
Output: TypeAlias = "StateRecord | StepRecord | EpisodeState"

_AFTER_THE_END = 1e9
"""s; exceeds all time-outs."""


class StateComputer:
    """Pass steps and episodes through, and add states.

    Args:
        encoder: VLA and RL token.
        rlt: chunk and stride.
        config: time-outs.
        hz: control rate, 1/s.
        on_reject: called with kind and detail of everything that is not used.
    """

    def __init__(
        self,
        encoder: FrozenEncoder,
        rlt: RLTConfig,
        config: InferenceConfig,
        hz: float,
        on_reject: Callable[[str, str], None],
    ) -> None:
        self._now, self._on_reject = 0.0, on_reject
        self._inference = Inference(encoder, rlt, config, hz, on_reject, clock=lambda: self._now)
        self._evaluations: set[int] = set()
        self._reported_fault: str | None = None

    def take(self, now: float, record: Record) -> list[Output]:
        """Process a record of time ``now``, s."""
        self._now = max(self._now, now)
        inference, passed = self._inference, list[Output]()
        if isinstance(record, Observation):
            inference.observe(record)
        elif isinstance(record, StepRecord):
            inference.add_step(record.episode, record.step, record.stamp)
            # Another policy may have proposed the command; it is valid experience all the same.
            passed.append(dataclasses.replace(record, lineage=Lineage(), version=0))
        elif isinstance(record, EpisodeState):
            # An evaluation leaves no rows, so it needs no states.
            if record.eval:
                self._evaluations.add(record.episode)
            else:
                inference.update_episode(record)
            passed.append(record)
        elif record.episode not in self._evaluations:
            inference.request(record)
        return [*self._work(), *passed]

    def finish(self) -> list[Output]:
        """Remaining states, as far as they can be computed."""
        self._now += _AFTER_THE_END
        return self._work()

    def _work(self) -> list[Output]:
        made: list[Output] = [one for one in self._inference.work() if isinstance(one, StateRecord)]
        fault = self._inference.token_fault
        if fault and fault != self._reported_fault:
            self._on_reject("useless token", fault)
        self._reported_fault = fault
        return made
