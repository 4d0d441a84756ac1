"""Arm for the tests of the controller: its clock, its joint states, and an answer to each request."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from rlt_ros.acting.config import ControlConfig
from rlt_ros.acting.controller import Controller
from rlt_ros.acting.records import Command, TickResult
from rlt_ros.replay.stream import ActionChunk, EpisodeState, Phase
from rlt_ros.rlt.transition import Source
from rlt_ros.robots.intervention import Intervention, TakeOver
from rlt_ros.robots.safety import Limits
from rlt_ros.store.lineage import Lineage

HZ = 50.0
PERIOD = 20_000_000  # ns
LIMITS = Limits(np.full(2, -1.0), np.full(2, 1.0), np.full(2, 1.0), np.full(2, 0.5))
LINEAGE = Lineage("vla", "token", "stats")
CHUNK = 4


class Arm:
    """Controller with a clock, and answers to its requests."""

    def __init__(self, limits: Limits = LIMITS, **config: Any) -> None:
        self.controller = Controller(ControlConfig(**config), limits, HZ)
        self.now = 10**12  # steady
        self.stamp = 10**9
        self.ids = 0
        # Commands with a target.
        self.commands: list[Command] = []

    def sense(self, position: Any = (0.0, 0.0), *, late: int = 0) -> None:
        """Publish a joint state of now, or of ``late`` periods ago."""
        self.controller.joint_state(
            self.stamp - late * PERIOD, np.array(position, dtype=np.float64), self.now
        )

    def later(self, periods: float = 1.0) -> None:
        self.now += round(periods * PERIOD)
        self.stamp += round(periods * PERIOD)

    def phase(self, phase: Phase, episode: int = 1, **fields: Any) -> None:
        self.controller.episode_state(EpisodeState(episode, phase, stamp=self.stamp, **fields))

    def offer(self, step: int, **changes: Any) -> ActionChunk:
        self.ids += 1
        action = np.full((CHUNK, 2), 0.01, np.float32)
        made = ActionChunk(
            stamp=self.stamp,
            episode=1,
            chunk=self.ids,
            step=step,
            source=Source.VLA,
            anchor=np.zeros(2, np.float32),
            scale=np.ones(2, np.float32),
            reference=action,
            action=action,
            lineage=LINEAGE,
        )
        chunk = dataclasses.replace(made, **changes)
        self.controller.chunk(chunk, self.stamp, self.now)
        return chunk

    def tick(self) -> TickResult:
        result = self.controller.tick(self.now, self.stamp)
        if result.command and result.command.target is not None:
            self.commands.append(result.command)
        return result

    def step(self) -> TickResult:
        """Run one period: sense, decide, and answer a request at once."""
        self.later()
        self.sense(self.commands[-1].target if self.commands else (0.0, 0.0))
        result = self.tick()
        if result.request:
            self.offer(result.request.step)
            if result.command is None:
                return self.tick()
        return result


def started(phase: Phase = Phase.APPROACH, **config: Any) -> Arm:
    arm = Arm(**config)
    arm.sense()
    arm.phase(Phase.RESETTING)
    arm.phase(Phase.APPROACH)
    if phase is Phase.CRITICAL:
        arm.phase(Phase.CRITICAL)
    return arm


def record(result: TickResult) -> Any:
    assert result.command is not None and result.command.record is not None
    return result.command.record


def engaged(arm: Arm, *, command: float = 0.3, phase: TakeOver = TakeOver.ENGAGED) -> None:
    human = Intervention(phase, 1.0, np.full(2, command), "joy", arm.stamp)
    arm.controller.intervention(human, arm.now)
