"""The human as the graph sees one: samples of a device in; interventions and events out."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from rlt_ros.rlt.stream import EpisodeState
from rlt_ros.robots.intervention import Intervention, TakeOver
from rlt_ros.robots.safety import Limits
from rlt_ros.teleop.config import GRIPPER, TeleopConfig
from rlt_ros.teleop.gripper import GripperButton
from rlt_ros.teleop.hand import Hand, TipKinematics
from rlt_ros.teleop.labels import Event, Labels
from rlt_ros.teleop.layout import Layout
from rlt_ros.teleop.rest import RestGate
from rlt_ros.teleop.samples import Interpreter, Raw, Sample
from rlt_ros.teleop.take_over import TakeOverMachine

Array = NDArray[np.float64]

_NOTHING = np.zeros(0)


class Operator:
    """Follows one device.

    Args:
        config: of teleoperation.
        arm: kinematics.
        limits: of the arm.
        hz: control rate, 1/s.
        gripper: whether there is one to command.
    """

    def __init__(
        self, config: TeleopConfig, arm: TipKinematics, limits: Limits, hz: float, *, gripper: bool = False
    ) -> None:
        self._layout = Layout(config)
        config = config.completed()
        self._device, self._stale = config.device, round(config.stale * 1e9)
        self._interpret = Interpreter(config)
        self._labels = Labels()
        self._machine = TakeOverMachine(config.blend, config.hold_off)
        self._hand = Hand(arm, limits, hz, config)
        self._gripper = GripperButton(present=gripper)
        self._rest = RestGate(config)
        self._raw: Raw | None = None
        self._sample: Sample | None = None
        self._heard: int | None = None

    @property
    def phase(self) -> TakeOver:
        """Who has the arm."""
        return self._machine.phase

    @property
    def ignored_presses(self) -> int:
        """Presses of buttons that meant nothing when they came."""
        return self._labels.ignored + self._gripper.ignored

    @property
    def problem(self) -> str:
        """Reason why the device cannot move the arm, and the remedy; empty for none."""
        if self._raw is None:
            return ""
        return self._layout.misfit(self._raw) or self._rest.problem

    @property
    def lacking(self) -> str:
        """Buttons of the mapping that the device lacks, in words; empty for none."""
        return "" if self._raw is None else self._layout.lacking(self._raw)

    def lost(self, now: int) -> bool:
        """Return whether the device is silent at steady time `now`, ns."""
        return self._heard is None or now - self._heard > self._stale

    def changes_hands(self, now: int) -> bool:
        """Return whether the human just took hold of the arm or let go of it, so that it should be told at once."""
        sample, phase = self._sample, self._machine.phase
        if sample is None or self.lost(now):
            return False
        return sample.acts != phase.commands

    def e_stop(self, pressed: bool) -> None:
        """The e-stop is pressed or released, by whomever."""
        self._labels.stopped = pressed
        if pressed:
            self._gripper.let_go()

    def gripper_is(self, share: float) -> None:
        """Take in where the gripper is, 0 open to 1 closed."""
        self._gripper.measure(share)

    def hear(self, raw: Raw, episode: EpisodeState, now: int) -> list[Event]:
        """Take in a sample of the device; returns what its buttons lead to.

        One without axes and buttons is that of a driver whose device is gone.
        """
        if not len(raw.axes) and not len(raw.buttons):
            self._heard = None
            return []
        if self.lost(now) or self._raw is None or not self._raw.same_device(raw):
            self._labels.forget_held()
            self._gripper.forget_held()
            self._rest.forget()
        self._raw, self._heard = raw, now
        self._rest.update(raw, now)
        sample = self._sample = self._trusted(self._interpret(raw))
        events = self._labels.update(sample.held - {GRIPPER}, episode)
        self._gripper.update(GRIPPER in sample.held, acts=sample.acts and not self._labels.stopped)
        if self._labels.stopped:
            self._gripper.let_go()
        return events

    def _trusted(self, sample: Sample) -> Sample:
        """A sample without what the device cannot be trusted with; an e-stop is taken from any."""
        if self._raw is not None and self._layout.misfit(self._raw):
            return Sample(np.zeros(6), False, sample.held & {"e_stop"})
        return sample if self._rest.is_open else dataclasses.replace(sample, twist=np.zeros(6), acts=False)

    def command(self, now: int, stamp: int, measured: Array, last: Array) -> Intervention:
        """What the human commands in a control period.

        Args:
            now: steady time, ns.
            stamp: ROS time of the command, ns.
            measured: (A,) rad, joint positions.
            last: (A,) rad, last command that the arm got; a take-over begins there.
        """
        before, lost = self._machine.phase, self.lost(now)
        wants = self._sample is not None and self._sample.acts and not lost
        phase = self._machine.update(now, wants=wants, lost=lost)
        command = _NOTHING
        if phase.commands:
            assert self._sample is not None
            if not before.commands:
                self._hand.begin(last)
            command = self._hand.move(self._sample.twist, measured)
        else:
            self._gripper.let_go()
        return Intervention(phase, self._machine.share, command, self._device, stamp, self._gripper.wish)
