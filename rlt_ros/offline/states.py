"""Computes the RL states of a recorded stream, as the inference computed them live.

The same :class:`~rlt_ros.vla.inference.Inference` gets observations, steps, episodes and requests in the order in which
they were recorded, with a clock that follows the recording; its chunks are thrown away. Where the arm waited for every
chunk, the passes of the VLA are the same ones and so are the numbers.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TypeAlias

from rlt_ros.perception import Observation
from rlt_ros.rlt.config import RLTConfig
from rlt_ros.rlt.lineage import Lineage
from rlt_ros.rlt.stream import ChunkRequest, EpisodeState, StateRecord, StepRecord
from rlt_ros.vla.config import InferenceConfig
from rlt_ros.vla.frozen import FrozenEncoder
from rlt_ros.vla.inference import Inference

Record: TypeAlias = "Observation | StepRecord | EpisodeState | ChunkRequest"
Made: TypeAlias = "StateRecord | StepRecord | EpisodeState"

_AFTER_THE_END = 1e9  # s; nothing is waited for any more


class StateComputer:
    """Records in; the same steps and episodes out, with states beside them.

    Args:
        encoder: the frozen half.
        rlt: chunk and stride.
        config: waiting and ageing.
        hz: control rate, 1/s.
        drop: told of everything that is not used: its kind in two or three words, and this one with its values.
    """

    def __init__(
        self,
        encoder: FrozenEncoder,
        rlt: RLTConfig,
        config: InferenceConfig,
        hz: float,
        drop: Callable[[str, str], None],
    ) -> None:
        self._now, self._drop = 0.0, drop
        self._inference = Inference(encoder, rlt, config, hz, drop, clock=lambda: self._now)
        self._evaluations: set[int] = set()
        self._reported_fault: str | None = None

    def take(self, now: float, record: Record) -> list[Made]:
        """Take what was recorded at ``now``, s."""
        self._now = max(self._now, now)
        inference, passed = self._inference, list[Made]()
        if isinstance(record, Observation):
            inference.observe(record)
        elif isinstance(record, StepRecord):
            inference.add_step(record.episode, record.step, record.stamp)
            # Whoever proposed it is not who makes the states; it is valid experience all the same.
            passed.append(dataclasses.replace(record, lineage=Lineage(), version=0))
        elif isinstance(record, EpisodeState):
            if record.eval:  # leaves no rows, so its states need not be known
                self._evaluations.add(record.episode)
            else:
                inference.update_episode(record)
            passed.append(record)
        elif record.episode not in self._evaluations:
            inference.request(record)
        return [*self._work(), *passed]

    def finish(self) -> list[Made]:
        """The states that are still owed, as far as they can be computed."""
        self._now += _AFTER_THE_END
        return self._work()

    def _work(self) -> list[Made]:
        made: list[Made] = [one for one in self._inference.work() if isinstance(one, StateRecord)]
        fault = self._inference.token_fault
        if fault and fault != self._reported_fault:
            self._drop("useless token", fault)
        self._reported_fault = fault
        return made
