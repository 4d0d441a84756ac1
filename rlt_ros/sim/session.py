"""The workcell as a robot that is simply there: its clock, its sensors, the newest command, and a judge of its task.

It counts control steps over all episodes, so that its time never jumps back. It knows no topics; `sim_node` puts it
behind those of the robot's profile.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rlt_ros.rlt.stream import Phase
from rlt_ros.sim.scripted_operator import ScriptedOperator
from rlt_ros.sim.workcell import HZ, Start, Workcell

Array = NDArray[np.float64]

PERIOD = round(1e9 / HZ)
"""Nanoseconds of a control step."""


class Verdict(enum.Enum):
    """What the task's own rules say about the step just done."""

    HAND_OVER = "the tip is near the socket"
    SUCCESS = "the tool is mated"
    FAILURE = "the tip is far from the socket"


@dataclass(frozen=True)
class JointSample:
    """All joints at one moment.

    Attributes:
        stamp: ns of simulated time.
        position: (J,) rad or m, those of the arm with an encoder's noise.
        velocity: (J,) rad/s or m/s.
    """

    stamp: int
    position: Array
    velocity: Array


class Session:
    """A robot that works on one task, episode after episode.

    Args:
        workcell: the simulated robot.
        start: where episodes begin.
        camera_every: control steps between two pictures of all cameras.
        operator: who takes over where the actor gets stuck; None for nobody.
    """

    def __init__(
        self,
        workcell: Workcell,
        *,
        start: Start = Start.APPROACH,
        camera_every: int = 2,
        operator: ScriptedOperator | None = None,
    ) -> None:
        self._workcell, self._start, self._every, self._operator = workcell, start, camera_every, operator
        self.joint_names = workcell.joint_names
        self._arm = np.array([self.joint_names.index(name) for name in workcell.robot.arm])
        self._place = {name: i for i, name in enumerate(workcell.robot.arm)}
        self._step, self.stamp = 1, PERIOD  # a stamp of 0 means "none" in messages
        self._camera_step = self._step
        self._seed = 0
        self._mated = self._watched = False
        self._target = workcell.position
        self._sample: JointSample | None = None
        self.command_stamp = self.stamp
        """Stamp of the newest command."""

    def reset(self, seed: int) -> None:
        """A new episode under the conditions of ``seed``; the arm is at rest."""
        self._workcell.reset(seed, self._start)
        self._seed, self._mated, self._watched = seed, False, False
        self._target = self._workcell.position
        self._tick()
        self.command_stamp = self.stamp
        self.renew_pictures()

    def joints(self) -> JointSample:
        """The joint state now; the same however often it is asked for."""
        if self._sample is None:
            position, velocity = self._workcell.all_joints()
            seen = self._workcell.observe(images=False)
            position[self._arm], velocity[self._arm] = seen.position, seen.velocity
            self._sample = JointSample(self.stamp, position, velocity)
        return self._sample

    def pictures(self) -> Mapping[str, NDArray[np.uint8]]:
        """Camera → (h, w, 3) uint8 RGB, now."""
        return self._workcell.observe().images

    @property
    def pictures_are_due(self) -> bool:
        """Return whether the cameras expose at this step."""
        return (self._step - self._camera_step) % self._every == 0

    def renew_pictures(self) -> None:
        """Let the cameras expose at this step, and from here on at their pace."""
        self._camera_step = self._step

    def command(self, names: Sequence[str], positions: Array, stamp: int) -> list[str]:
        """Take joint targets rad by name, the gripper's among them; joints that are not named keep theirs.

        Returns:
            The names of joints that cannot be commanded here.

        Raises:
            ValueError: a target is missing or not finite; nothing is changed.
        """
        if len(names) != len(positions):
            raise ValueError(f"command has {len(positions)} positions for {len(names)} names")
        if not np.isfinite(positions).all():
            raise ValueError(f"command has positions {positions}; they must be finite")
        foreign = []
        target = self._target.copy()
        for name, position in zip(names, positions, strict=True):
            if name in self._place:
                target[self._place[name]] = position
            elif name == self._workcell.robot.gripper:
                self._workcell.grip(position)
            else:
                foreign.append(name)
        self._target, self.command_stamp = target, stamp
        return foreign

    def step(self) -> None:
        """Servo towards the newest command for one control period."""
        self._mated = self._workcell.step(self._target)
        self._tick()
        if self._watched and self._operator:
            self._operator.watch()

    def verdict(self, phase: Phase) -> Verdict | None:
        """What the task's rules say in this phase of the episode."""
        if phase is Phase.APPROACH and self._workcell.critical:
            return Verdict.HAND_OVER
        if phase is not Phase.CRITICAL:
            return None
        if self._mated:
            return Verdict.SUCCESS
        return Verdict.FAILURE if self._workcell.distance > self._workcell.task.lost_distance else None

    def watch(self) -> None:
        """The operator, if there is one, begins to watch the policy's work."""
        if self._operator:
            self._operator.begin(self._seed)
            self._watched = True

    @property
    def human_acts(self) -> bool:
        """Return whether the operator has taken over."""
        return bool(self._watched and self._operator and self._operator.acts)

    def help_if_stuck(self) -> None:
        """The policy is about to decide anew: the operator takes over if it gets on no more."""
        if self._watched and self._operator:
            self._operator.decide()

    def human_command(self) -> Array | None:
        """Joint target (A,) rad of the operator for this step, asked for once a step; None while the policy acts."""
        return self._operator.command() if self._operator and self.human_acts else None

    def close(self) -> None:
        """Free the renderer."""
        self._workcell.close()

    def _tick(self) -> None:
        self._step += 1
        self.stamp = self._step * PERIOD
        self._sample = None
