"""Joint setpoint of the robot's drivers: its value, and permission to send it.

Every command is within `lead` of the measured arm, and no further from the last command than the speed limit allows in
the time between. A command that cannot satisfy both is not sent. docs/explanation/commands.md gives the rule and its
reasons.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rlt_ros.robots.safety import ForwardKinematics, Limits, Reference, SafetyFilter

Array = NDArray[np.float64]

# rad; an arm further from its command than this, and than its lag while it was commanded, was moved by hand.
_MIN_DISPLACEMENT = 0.02
# Share of the lead by which an arm without a task may leave its setpoint before the setpoint follows. A soft arm sags
# under its weight; a setpoint that followed every sag would let it sink.
_SLACK = 0.5
# Control steps; rounding included.
_ONE_STEP = 1.0 + 1e-9


class _ArmKinematics:
    """Kinematics of an arm in a vector of joints that begins with the arm's.

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
    """Command in force at the drivers, (J,) rad: the arm's joints, then those that commands must hold.

    Args:
        limits: of the arm's A joints.
        hz: control rate, 1/s.
        kinematics: of the arm; needed for a workspace limit.
        held: number H of joints that commands must hold.
        teleports: a simulator in lock-step may move the arm anywhere at once before the next command.
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
            kinematics = _ArmKinematics(kinematics, self._arm)
        self._safety = SafetyFilter(limits, hz, kinematics)
        # Steady time, ns, and value of the newest command.
        self._sent: tuple[int, Array] | None = None
        # The drivers obey the newest command, and the arm was tracked without a break since.
        self._in_force = False
        # The setpoint jumped to the measured arm; it may be sent once the speed limit allows for the distance.
        self._jumped = False
        # The motion of the arm up to its measured position is unknown; the setpoint jumps there before it follows.
        self._lost = False
        # The setpoint moves towards the arm, step by step.
        self._following = False
        # The arm was moved by hand while it was followed, so no lag explains a distance.
        self._guided = False
        # rad, distance of the arm from its command while it was commanded.
        self._lag: Array = np.zeros(limits.dim)
        self._slack = _SLACK * limits.lead
        self.is_start = True
        """The newest command is further from the one before than a control step."""

    @property
    def position(self) -> Array:
        """Setpoint (J,) rad."""
        last = self._safety.last
        assert last is not None, "setpoint used before begin()"
        return last

    @property
    def safety(self) -> SafetyFilter:
        """Filter of all commands, with its counters."""
        return self._safety

    def forget(self) -> None:
        """Forget all commands: commanding starts, or starts again, and another node may have moved the arm."""
        self.lose_track()
        self._sent = None

    def lose_track(self) -> None:
        """Declare the motion up to the next measured position unknown: follow nothing before policy or human act."""
        self._in_force = self._following = False
        self._lost = True

    def begin(self, measured: Array) -> None:
        """Begin to act at the measured positions (J,) rad.

        An arm that only lags behind its command keeps the command; otherwise each begin would lower a sagging arm.
        """
        was_moved = not self._in_force or self._guided or self._was_moved(measured, closely=True)
        if was_moved or self._teleports:
            self._jump(measured)

    def is_out_of_reach(self, measured: Array, now: int) -> bool:
        """Return whether the setpoint cannot be commanded: it is too far from the arm, or jumped too recently."""
        return self.is_away(measured) or not self._jump_allowed(self.position, now, margin=1.0)

    def is_away(self, measured: Array) -> bool:
        """Return whether a step at the speed limit leaves the setpoint outside the lead of the measured arm."""
        reach = self._limits.lead + self._safety.step
        return bool((np.abs(self.position - measured) > reach).any())

    def act(
        self, target: Array, measured: Array, now: int, reference: Reference | None = None
    ) -> Array | None:
        """Command (J,) rad towards a target (A,) rad, to send now; None if it must not be sent."""
        self._update_lag(measured)
        self._guided = self._following = False
        if self._arm < len(measured):
            held = self.position[self._arm :]
            target = np.append(target, held)
            if reference is not None:
                unit = np.append(reference.unit, np.zeros_like(held))
                reference = Reference(np.append(reference.target, held), unit)
        return self._checked(self._safety.filter(target, measured, reference), now)

    def hold(self, measured: Array, now: int) -> Array | None:
        """Command (J,) rad of a step without a target, to send now; None if it must not be sent."""
        self._update_lag(measured)
        return self._checked(self._safety.hold(measured), now)

    def wait(self, measured: Array, now: int) -> Array | None:
        """Command (J,) rad in place of `act` and `hold` while out of reach; None if none may be sent.

        An arm that is away may return, so its setpoint stays; a setpoint that jumped moves with the arm.
        """
        return self._jump_again(measured, now) if self._jumped else None

    def brake(self, measured: Array, now: int) -> Array | None:
        """Command (J,) rad that stops a motion; None once the setpoint is at rest. `measured` may be old."""
        return self.hold(measured, now) if self._safety.is_moving and self._in_force else None

    def follow(self, measured: Array, now: int, *, stopped: bool, powerless: bool = False) -> Array | None:
        """Command (J,) rad for an arm without a task; None while the setpoint is at the arm.

        Args:
            measured: (J,) rad.
            now: steady time, ns.
            stopped: an e-stop is pressed. The arm may be moved by hand, and the setpoint follows even if the setpoint
                in force is of another node.
            powerless: the robot's own e-stop is pressed. An arm without power does not sag with its setpoint, so the
                setpoint follows closely.
        """
        if self._lost or (not self._in_force and not stopped):
            self._jump(measured)
            return None
        if self._jumped:
            return self._jump_again(measured, now)
        if self._following or self._was_moved(measured, closely=powerless):
            return self._step_towards(measured, now)
        self._lag = np.minimum(self._lag, np.abs(measured - self.position))
        return self.brake(measured, now)

    def _step_towards(self, measured: Array, now: int) -> Array | None:
        command = self._safety.follow(measured)
        self._following = not np.array_equal(command, measured)
        self._guided, self._lag = True, np.zeros(self._limits.dim)
        return self._checked(command, now)

    def _jump(self, measured: Array) -> None:
        self._safety.reset(measured)
        self._jumped = self._sent is not None and not self._teleports
        self._following = self._guided = self._lost = False
        self._lag = np.zeros(self._limits.dim)

    def _jump_again(self, measured: Array, now: int) -> Array | None:
        """Jump to the arm; return the command, or None if it must not be sent or no command is in force."""
        self._jump(measured)
        return self._checked(self.position, now) if self._in_force else None

    def _jump_allowed(self, command: Array, now: int, margin: float = 0.0) -> bool:
        """Return whether the speed limit allows for a jump in the time since the newest command.

        Args:
            command: (J,) rad, end of the jump.
            now: steady time, ns.
            margin: control steps to spare.
        """
        if not self._jumped or self._sent is None:
            return True
        then, sent = self._sent
        steps = max(1.0, (now - then) * 1e-9 * self._hz) - margin
        return bool((np.abs(command - sent) <= steps * self._safety.step).all())

    def _checked(self, command: Array, now: int) -> Array | None:
        """Return the command and record it as sent; None if it must not be sent."""
        if not self._safety.within_lead or not self._jump_allowed(command, now):
            return None
        before = self._sent
        most = self._safety.step * _ONE_STEP
        self.is_start = before is None or bool((np.abs(command - before[1]) > most).any())
        self._sent, self._in_force, self._jumped = (now, command), True, False
        self._lost = False
        return command

    def _update_lag(self, measured: Array) -> None:
        self._lag = np.minimum(np.abs(self.position - measured), self._slack)

    def _was_moved(self, measured: Array, *, closely: bool) -> bool:
        """Return whether the arm is further from its setpoint than its lag."""
        least = np.minimum(np.maximum(self._lag, _MIN_DISPLACEMENT), self._slack) if closely else self._slack
        return bool((np.abs(measured - self.position) > least).any())
