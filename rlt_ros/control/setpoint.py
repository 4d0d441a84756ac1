"""Joint setpoint of the robot's drivers: what it may be, and when it may be sent.

Every command that is sent is within `lead` of the measured arm and no further from the command before than the speed
limit allows in the time between. What cannot satisfy both is not sent. docs/explanation/commands.md gives the rule and
its reasons.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rlt_ros.robots.safety import ForwardKinematics, Limits, Reference, SafetyFilter

Array = NDArray[np.float64]

# rad; an arm that is further from its command than this, and than it lagged while it was commanded, was moved.
_SAG = 0.02
# Share of the lead by which an arm without a task may leave its setpoint before the setpoint follows. A soft arm sags
# under its weight; a setpoint that followed every sag would let it sink.
_SLACK = 0.5
# Control steps; rounding included.
_ONE_STEP = 1.0 + 1e-9


class _OfFirstJoints:
    """Kinematics of an arm whose joints are followed by others.

    Args:
        kinematics: of the arm.
        dim: number of its joints.
    """

    def __init__(self, kinematics: ForwardKinematics, dim: int) -> None:
        self._kinematics, self._dim = kinematics, dim

    def forward(self, q: Array) -> Array:
        """Pose (4, 4) of the tip at the positions (J,) of all joints."""
        return self._kinematics.forward(q[: self._dim])


class Setpoint:
    """Command in force at the drivers, (J,) rad: of the arm and of the joints that commands must hold.

    Args:
        limits: of the arm's A joints.
        hz: control rate, 1/s.
        kinematics: of the arm; needed for a workspace limit.
        held: number H of joints that commands must hold; they come after the arm's.
        teleports: the arm is put elsewhere at once, by the simulator that waits for the next command (lock-step).
    """

    def __init__(
        self,
        limits: Limits,
        hz: float,
        kinematics: ForwardKinematics | None = None,
        *,
        held: int = 0,
        teleports: bool = False,
    ) -> None:
        self._arm, self._hz, self._teleports = limits.dim, hz, teleports
        limits = self._limits = limits.with_held(held)
        if held and kinematics is not None:
            kinematics = _OfFirstJoints(kinematics, self._arm)
        self._safety = SafetyFilter(limits, hz, kinematics)
        # Newest command that was sent, and when, ns.
        self._sent: tuple[int, Array] | None = None
        # The drivers obey a command of ours, and the arm was tracked without a break since.
        self._in_force = False
        # The setpoint was moved at once to where the arm is; it may be sent as soon as time allows for the distance.
        self._leapt = False
        # The way of the arm to where it is measured is unknown; the setpoint leaps there before it follows again.
        self._lost = False
        # The setpoint moves towards the arm, step by step.
        self._following = False
        # The arm was moved while it was followed, so that no lag explains a distance.
        self._guided = False
        # rad, distance of the arm from its command while it was commanded.
        self._lag: Array = np.zeros(limits.dim)
        self._slack = _SLACK * limits.lead
        self.is_start = True
        """The newest command that was sent is further from the one before than a control step."""

    @property
    def position(self) -> Array:
        """The setpoint (J,) rad."""
        last = self._safety.last
        assert last is not None, "setpoint used before begin()"
        return last

    @property
    def safety(self) -> SafetyFilter:
        """Filter of all commands, with its counters."""
        return self._safety

    def forget(self) -> None:
        """Nothing was ever sent: commanding begins, or begins again, and others may have commanded the arm."""
        self.lose_track()
        self._sent = None

    def lose_track(self) -> None:
        """The way of the arm to where it is measured next is unknown: follow nothing before somebody acts."""
        self._in_force = self._following = False
        self._lost = True

    def begin(self, measured: Array) -> None:
        """Somebody is about to act, or may act again: begin at the measured positions (J,) rad.

        An arm that only lags behind its command keeps it: each begin would lower a sagging arm a little further.
        """
        was_moved = not self._in_force or self._guided or self._was_moved(measured, closely=True)
        if was_moved or self._teleports:
            self._leap(measured)

    def is_obstructed(self, measured: Array, now: int) -> bool:
        """Return whether the setpoint cannot be commanded: it is too far from the arm, or leapt just now."""
        return self.is_away(measured) or not self._may_leap(self.position, now, margin=1.0)

    def is_away(self, measured: Array) -> bool:
        """Return whether a step at the speed limit leaves the setpoint outside the lead of the measured arm."""
        reach = self._limits.lead + self._safety.step
        return bool((np.abs(self.position - measured) > reach).any())

    def act(
        self, target: Array, measured: Array, now: int, reference: Reference | None = None
    ) -> Array | None:
        """Command (J,) rad towards a target (A,) rad, to be sent now; None where it must not be."""
        self._note_lag(measured)
        self._guided = self._following = False
        if self._arm < len(measured):
            held = self.position[self._arm :]
            target = np.append(target, held)
            if reference is not None:
                unit = np.append(reference.unit, np.zeros_like(held))
                reference = Reference(np.append(reference.target, held), unit)
        return self._released(self._safety.filter(target, measured, reference), now)

    def hold(self, measured: Array, now: int) -> Array | None:
        """Command (J,) rad of a step in which nothing acts, to be sent now; None where it must not be."""
        self._note_lag(measured)
        return self._released(self._safety.hold(measured), now)

    def wait(self, measured: Array, now: int) -> Array | None:
        """Command (J,) rad in place of `act` and `hold` while obstructed; None as long as nothing may be sent.

        An arm that is away may come back, so the setpoint stays where it is; one that leapt goes with the arm.
        """
        return self._leap_again(measured, now) if self._leapt else None

    def brake(self, measured: Array, now: int) -> Array | None:
        """Command (J,) rad that stops a motion; None once the setpoint stands. `measured` may be old."""
        return self.hold(measured, now) if self._safety.is_moving and self._in_force else None

    def follow(self, measured: Array, now: int, *, stopped: bool, powerless: bool = False) -> Array | None:
        """Command (J,) rad for an arm that nobody commands; None while the setpoint is where the arm is.

        Args:
            measured: (J,) rad.
            now: steady time, ns.
            stopped: an e-stop is pressed. The arm may be moved by hand, and the setpoint follows even if the one in
                force is not ours.
            powerless: the e-stop is the robot's own. An arm without power does not sag when its setpoint does, so the
                setpoint follows closely.
        """
        if self._lost or (not self._in_force and not stopped):
            self._leap(measured)
            return None
        if self._leapt:
            return self._leap_again(measured, now)
        if self._following or self._was_moved(measured, closely=powerless):
            return self._step_towards(measured, now)
        self._lag = np.minimum(self._lag, np.abs(measured - self.position))
        return self.brake(measured, now)

    def _step_towards(self, measured: Array, now: int) -> Array | None:
        command = self._safety.follow(measured)
        self._following = not np.array_equal(command, measured)
        self._guided, self._lag = True, np.zeros(self._limits.dim)
        return self._released(command, now)

    def _leap(self, measured: Array) -> None:
        self._safety.reset(measured)
        self._leapt = self._sent is not None and not self._teleports
        self._following = self._guided = self._lost = False
        self._lag = np.zeros(self._limits.dim)

    def _leap_again(self, measured: Array, now: int) -> Array | None:
        """Follow the arm at once; the command, or None while it must not be sent or nothing of ours is in force."""
        self._leap(measured)
        return self._released(self.position, now) if self._in_force else None

    def _may_leap(self, command: Array, now: int, margin: float = 0.0) -> bool:
        """Return whether the speed limit allows for a leap in the time since the newest command that was sent.

        Args:
            command: (J,) rad, where it leads to.
            now: steady time, ns.
            margin: steps that are left over.
        """
        if not self._leapt or self._sent is None:
            return True
        then, sent = self._sent
        steps = max(1.0, (now - then) * 1e-9 * self._hz) - margin
        return bool((np.abs(command - sent) <= steps * self._safety.step).all())

    def _released(self, command: Array, now: int) -> Array | None:
        """The command, noted as sent; None where it must not be."""
        if not self._safety.within_lead or not self._may_leap(command, now):
            return None
        before = self._sent
        most = self._safety.step * _ONE_STEP
        self.is_start = before is None or bool((np.abs(command - before[1]) > most).any())
        self._sent, self._in_force, self._leapt = (now, command), True, False
        self._lost = False
        return command

    def _note_lag(self, measured: Array) -> None:
        self._lag = np.minimum(np.abs(self.position - measured), self._slack)

    def _was_moved(self, measured: Array, *, closely: bool) -> bool:
        """Return whether the arm is further from its setpoint than it lags by itself."""
        least = np.minimum(np.maximum(self._lag, _SAG), self._slack) if closely else self._slack
        return bool((np.abs(measured - self.position) > least).any())
