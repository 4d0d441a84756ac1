"""An episode as it comes over the graph: states and steps with stamps, from a seed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rlt_ros.replay.stream import EpisodeOutcome, EpisodeState, Phase, StateRecord, StepRecord
from rlt_ros.rlt.config import Shapes
from rlt_ros.rlt.transition import RLState, Source, Window, lineage_id
from rlt_ros.rlt.windows import WindowBuilder
from rlt_ros.robots.action_space import ActionSpace
from rlt_ros.store.lineage import Lineage

SHAPES = Shapes(z_dim=6, proprio_dim=14, chunk=4, action_dim=7)
STRIDE, GAMMA = 2, 0.9
PERIOD = 20_000_000  # ns
SCALE = np.linspace(0.01, 0.04, 7, dtype=np.float32)
SPACE = ActionSpace(SCALE.astype(np.float64))
LINEAGE = Lineage(vla="v", token="t", stats=SPACE.fingerprint)


@dataclass(frozen=True)
class Stream:
    """Messages of one episode; the critical phase begins at ``start``."""

    states: list[StateRecord]
    steps: list[StepRecord]
    end: EpisodeState

    @property
    def records(self) -> list[StateRecord | StepRecord | EpisodeState]:
        """In the order in which a robot makes them: a state, then the steps until the next."""
        made: list[tuple[float, StateRecord | StepRecord]] = [(r.state.step - 0.5, r) for r in self.states]
        made += [(float(r.step), r) for r in self.steps]
        return [*(record for _, record in sorted(made, key=lambda item: item[0])), self.end]


def stream(
    episode: int = 1,
    *,
    steps: int = 15,
    start: int = 3,
    outcome: EpisodeOutcome = EpisodeOutcome.SUCCESS,
    lineage: Lineage = LINEAGE,
    discarded: bool = False,
    evaluation: bool = False,
) -> Stream:
    """An episode of ``steps`` critical steps after ``start`` steps of approach."""
    rng = np.random.default_rng(episode)
    stop = start + steps

    def floats(*shape: int) -> np.ndarray:
        return rng.normal(size=shape).astype(np.float32)

    wanted = list(range(start, stop, STRIDE))
    if not outcome.terminated:
        wanted.append(stop)
    states = [
        StateRecord(
            stamp=step * PERIOD,
            episode=episode,
            lineage=lineage,
            state=RLState(
                step,
                floats(SHAPES.z_dim),
                floats(SHAPES.proprio_dim),
                floats(SHAPES.chunk, SHAPES.action_dim),
                floats(SHAPES.action_dim),
            ),
            scale=SCALE,
        )
        for step in wanted
    ]
    executed = [
        StepRecord(
            stamp=step * PERIOD,
            episode=episode,
            step=step,
            source=Source.VLA if step < start else Source(1 + step % 3),
            command=floats(SHAPES.action_dim),
            measured=floats(SHAPES.action_dim),
            lineage=lineage,
        )
        for step in range(stop)
    ]
    end = EpisodeState(
        episode=episode,
        phase=Phase.DONE,
        outcome=outcome,
        discarded=discarded,
        eval=evaluation,
        reward=1.0 if outcome is EpisodeOutcome.SUCCESS else 0.0,
        steps=steps,
        stamp=stop * PERIOD,
    )
    return Stream(states, executed, end)


def rows(made: Stream, *, offset: int = 0) -> list[Window]:
    """The rows of an episode, built while it runs, as the in-process trainer does it."""
    end = made.end
    builder = WindowBuilder(
        SHAPES,
        SPACE.encode,
        episode=offset + end.episode,
        lineage=lineage_id(LINEAGE),
        stride=STRIDE,
        gamma=GAMMA,
    )
    start = made.states[0].state.step
    stop = start + end.steps
    final = next((r.state for r in made.states if r.state.step == stop), None)
    windows: list[Window] = []
    for record in made.records:
        if isinstance(record, StateRecord) and record.state.step < stop:
            windows += builder.add_state(record.state)
        elif isinstance(record, StepRecord) and record.step >= start:
            windows += builder.add_step(record.executed)
    return windows + builder.finish(terminated=end.outcome.terminated, reward=end.reward, final_state=final)
