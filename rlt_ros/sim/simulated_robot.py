"""Simulated robot at run time: clock, sensors, newest command, and the events of its task.

It counts control steps over all episodes, so that its time never decreases. Topics belong to `sim_node`.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rlt_ros.replay.stream import Phase
from rlt_ros.sim.scripted_operator import ScriptedOperator
from rlt_ros.sim.workcell import HZ, Start, Workcell

Array = NDArray[np.float64]

PERIOD = round(1e9 / HZ)
"""Control period, ns."""


class TaskEvent(enum.Enum):
    """Event by the task's own rules, after a step."""

    HAND_OVER = "the tip is near the socket"
    SUCCESS = "the tool is mated"
    FAILURE = "the tip is far from the socket"


@dataclass(frozen=True)
class SimulatedJoints:
    """State of all joints at one time.

    Attributes:
        stamp: ns of simulated time.
        position: (J,) rad or m, with an encoder's noise for the arm.
        velocity: (J,) rad/s or m/s.
    """

    stamp: int
    position: Array
    velocity: Array


class SimulatedRobot:
    """Robot that executes one task, episode after episode.

    Args:
        workcell: simulated workcell.
        start: start pose of episodes.
        camera_every: control steps between two images of all cameras.
        operator: operator that takes over from a stuck actor; None for none.
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
        # A stamp of 0 means "none" in messages.
        self._step, self.stamp = 1, PERIOD
        self._camera_step = self._step
        self._seed = 0
        self._mated = self._supervised = False
        self._target = workcell.position
        self._sample: SimulatedJoints | None = None
        self.command_stamp = self.stamp
        """Stamp of the newest command."""

    def reset(self, seed: int) -> None:
        """Start a new episode under the conditions of ``seed``; the arm is at rest."""
        self._workcell.reset(seed, self._start)
        self._seed, self._mated, self._supervised = seed, False, False
        self._target = self._workcell.position
        self._tick()
        self.command_stamp = self.stamp
        self.expose_cameras()

    def joints(self) -> SimulatedJoints:
        """Current joint state; repeated calls in a step return the same noise."""
        if self._sample is None:
            position, velocity = self._workcell.all_joints()
            observed = self._workcell.observe(images=False)
            position[self._arm], velocity[self._arm] = observed.position, observed.velocity
            self._sample = SimulatedJoints(self.stamp, position, velocity)
        return self._sample

    def pictures(self) -> Mapping[str, NDArray[np.uint8]]:
        """Current images: camera → (h, w, 3) uint8 RGB."""
        return self._workcell.observe().images

    @property
    def cameras_due(self) -> bool:
        """True if the cameras expose at this step."""
        return (self._step - self._camera_step) % self._every == 0

    def expose_cameras(self) -> None:
        """Make the cameras expose at this step, and periodically from here on."""
        self._camera_step = self._step

    def command(self, names: Sequence[str], positions: Array, stamp: int) -> list[str]:
        """Set joint targets, rad, by name, including the gripper's; other joints keep theirs.

        Returns:
            Names of joints that cannot be commanded.

        Raises:
            ValueError: a target is missing or not finite; nothing changes.
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
        """Move towards the newest command for one control period."""
        self._mated = self._workcell.step(self._target)
        self._tick()
        if self._supervised and self._operator:
            self._operator.observe_step()

    def task_event(self, phase: Phase) -> TaskEvent | None:
        """Event of the task in this phase of the episode."""
        if phase is Phase.APPROACH and self._workcell.critical:
            return TaskEvent.HAND_OVER
        if phase is not Phase.CRITICAL:
            return None
        if self._mated:
            return TaskEvent.SUCCESS
        return TaskEvent.FAILURE if self._workcell.distance > self._workcell.task.lost_distance else None

    def event_stamp(self, event: TaskEvent) -> int:
        """Stamp of an event of this moment, ns: of the current state for a hand-over, of the last command otherwise."""
        return self.stamp if event is TaskEvent.HAND_OVER else self.command_stamp

    def start_supervision(self) -> None:
        """Make the operator supervise the policy, if there is one."""
        if self._operator:
            self._operator.begin(self._seed)
            self._supervised = True

    @property
    def human_acts(self) -> bool:
        """True while the operator acts."""
        return bool(self._supervised and self._operator and self._operator.acts)

    def help_if_stuck(self) -> None:
        """Make the operator take over without recent progress; call before the policy's next decision."""
        if self._supervised and self._operator:
            self._operator.take_over_if_stuck()

    def human_command(self) -> Array | None:
        """Joint target (A,) rad of the operator for this step, once per step; None while the policy acts."""
        return self._operator.command() if self._operator and self.human_acts else None

    def close(self) -> None:
        """Free the renderer."""
        self._workcell.close()

    def _tick(self) -> None:
        self._step += 1
        self.stamp = self._step * PERIOD
        self._sample = None
