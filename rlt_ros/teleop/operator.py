"""Operator: samples of a device in; interventions and events out."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from rlt_ros.replay.stream import EpisodeState
from rlt_ros.robots.intervention import Intervention, TakeOver
from rlt_ros.robots.safety import Limits
from rlt_ros.teleop.config import GRIPPER, TeleopConfig
from rlt_ros.teleop.gripper import GripperButton
from rlt_ros.teleop.hand import Hand, TipKinematics
from rlt_ros.teleop.labels import ButtonEvent, Labels
from rlt_ros.teleop.layout import Layout
from rlt_ros.teleop.rest import RestGate
from rlt_ros.teleop.samples import DeviceSample, Interpreter, OperatorInput
from rlt_ros.teleop.take_over import TakeOverMachine

Array = NDArray[np.float64]

_NOTHING = np.zeros(0)


class Operator:
    """Operator with one device.

    Args:
        config: settings of teleoperation.
        arm: kinematics.
        limits: limits of the arm.
        hz: control rate, 1/s.
        gripper: True if the robot has a gripper.
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
        self._raw: DeviceSample | None = None
        self._sample: OperatorInput | None = None
        self._last_sample: int | None = None

    @property
    def phase(self) -> TakeOver:
        """Phase of the take-over."""
        return self._machine.phase

    @property
    def ignored_presses(self) -> int:
        """Number of ignored button presses."""
        return self._labels.ignored + self._gripper.ignored

    @property
    def problem(self) -> str:
        """Reason why the device cannot move the arm, and the remedy; empty for none."""
        if self._raw is None:
            return ""
        return self._layout.mapping_fault(self._raw) or self._rest.problem

    @property
    def missing_buttons(self) -> str:
        """Description of the mapped buttons that the device lacks; empty for none."""
        return "" if self._raw is None else self._layout.missing_buttons(self._raw)

    def lost(self, now: int) -> bool:
        """Return whether the device has timed out at steady time `now`, ns."""
        return self._last_sample is None or now - self._last_sample > self._stale

    def control_changed(self, now: int) -> bool:
        """Return whether the human has taken over or released the arm since the last command, to publish it at once."""
        sample, phase = self._sample, self._machine.phase
        if sample is None or self.lost(now):
            return False
        return sample.acts != phase.commands

    def e_stop(self, pressed: bool) -> None:
        """Set the state of the e-stop."""
        self._labels.stopped = pressed
        if pressed:
            self._gripper.release()

    def measure_gripper(self, share: float) -> None:
        """Set the measured opening of the gripper, 0 open to 1 closed."""
        self._gripper.measure(share)

    def add_sample(self, raw: DeviceSample, episode: EpisodeState, now: int) -> list[ButtonEvent]:
        """Process a sample of the device; returns the events of its buttons.

        A driver publishes a sample without axes and buttons when its device is disconnected.
        """
        if not len(raw.axes) and not len(raw.buttons):
            self._last_sample = None
            return []
        if self.lost(now) or self._raw is None or not self._raw.same_device(raw):
            self._labels.ignore_held()
            self._gripper.ignore_held()
            self._rest.forget()
        self._raw, self._last_sample = raw, now
        self._rest.update(raw, now)
        sample = self._sample = self._without_untrusted(self._interpret(raw))
        events = self._labels.update(sample.held - {GRIPPER}, episode)
        self._gripper.update(GRIPPER in sample.held, acts=sample.acts and not self._labels.stopped)
        if self._labels.stopped:
            self._gripper.release()
        return events

    def _without_untrusted(self, sample: OperatorInput) -> OperatorInput:
        """Remove inputs of a wrong mapping or of axes not yet at rest; the e-stop always remains."""
        if self._raw is not None and self._layout.mapping_fault(self._raw):
            return OperatorInput(np.zeros(6), False, sample.held & {"e_stop"})
        return sample if self._rest.is_open else dataclasses.replace(sample, twist=np.zeros(6), acts=False)

    def command(self, now: int, stamp: int, measured: Array, last: Array) -> Intervention:
        """Human command of a control period.

        Args:
            now: steady time, ns.
            stamp: ROS time of the command, ns.
            measured: (A,) joint positions, rad.
            last: (A,) last command of the arm, rad, the start of a take-over.
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
            self._gripper.release()
        return Intervention(phase, self._machine.share, command, self._device, stamp, self._gripper.goal)
