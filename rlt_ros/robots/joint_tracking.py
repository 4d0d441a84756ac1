"""Joint tracking: raw joint states of a driver in, trusted joint states out.

Joint states of real drivers have four faults, and each would command an arm to a wrong position:

* joints that turn without end are reported in (-π, π], with a jump of a whole turn at the seam;
* single states are wrong: zeros of a driver without contact to its hardware, 1e308 of an uninitialised buffer;
* two nodes publish the same joints, at equal or different rates and clocks;
* a driver restarts, or an unmeasured arm is moved, and the states continue elsewhere.

The tracker unwraps the first, drops and counts the second, refuses the third, and reports the fourth: a position that
persists elsewhere is accepted as `relocated` while the arm is not commanded.
"""

from __future__ import annotations

import itertools
from collections import deque
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rlt_ros.robots.tracked_joints import TrackedJoints
from rlt_ros.robots.turns import TURN, nearest_turn, turn_inside

Array = NDArray[np.float64]

FLOAT32_MAX = float(np.finfo(np.float32).max)
"""Greatest value of messages and networks in this package."""

JUMP_MARGIN = 0.05
"""rad or m; plausible distance of two states at any time between them: noise and jitter of stamps."""

MAX_MOTION_TIME = 500_000_000
"""ns of motion that explains a distance, also after a longer gap."""

MIN_PERSISTENT_STATES = 5
"""Surplus of states at another position, over those at the last accepted one, that makes it persistent."""

MIN_PERSISTENT_TIME = 100_000_000
"""ns that these states must span; a burst of wrong states is shorter."""

ARRIVAL_JITTER = 30_000_000
"""ns by which stamps may be further apart than arrivals; beyond it they are of two clocks, and no motion."""

MAX_STAMP_STEP_BACK = 100_000_000
"""ns by which stamps of one source may step back; beyond it two clocks alternate."""

MAX_REORDERING = 1_000_000_000
"""ns; a state older than the last by less is out of order, by more its clock was set back."""

# Newest states by which two sources are recognised.
_WINDOW = 40
# Changes between states that follow and states that jump, in the window, that make two sources. With as many changes,
# random wrong states would be a third of all or more.
_MIN_CHANGES = 16
# Changes in the window below which the second source has ended.
_MAX_CHANGES_AFTER = 8
# Returns of jumped states to one position within `_RETURNS_DURATION` that make a second, much slower source.
_MIN_RETURNS = 40
# ns.
_RETURNS_DURATION = 2_000_000_000
# ns without a return after which a slow second source has ended; several times the period of its returns.
_MAX_RETURN_GAP = 250_000_000


class JointStateRejected(ValueError):
    """Implausible joint state; the message names joint, values and remedy.

    Attributes:
        kind: name of its counter.
        moved: the position of the arm is unknown, or far from the last accepted one: commanding must stop.
    """

    def __init__(self, kind: str, detail: str, *, moved: bool = False) -> None:
        super().__init__(detail)
        self.kind, self.moved = kind, moved


class TrackedState(NamedTuple):
    """Trusted joint state.

    Attributes:
        stamp: ns, that of the message; 0 from drivers that leave it empty.
        positions: (A,) rad or m, continuous joints without a seam.
        relocated: the arm cannot have moved here from the last state.
    """

    stamp: int
    positions: Array
    relocated: bool


class _Candidate:
    """Position of newer joint states that cannot follow from the last accepted one."""

    def __init__(self, stamp: int, now: int, raw: Array) -> None:
        self.stamp, self.now, self.raw = stamp, now, raw
        self.began, self.count = (stamp, now), 1

    def add(self, stamp: int, now: int, raw: Array) -> None:
        self.stamp, self.now, self.raw = stamp, now, raw
        self.count += 1

    @property
    def persists(self) -> bool:
        """Return whether enough states agree over enough time."""
        span = _elapsed(self.began, (self.stamp, self.now))
        return self.count >= MIN_PERSISTENT_STATES and abs(span) >= MIN_PERSISTENT_TIME


class JointTracker:
    """Tracker of the joint states of one arm.

    Args:
        joints: of the arm.
        jumps: check for jumps. False for simulators with their resets; range and turns are always checked.
    """

    def __init__(self, joints: TrackedJoints, *, jumps: bool = True) -> None:
        self.joints, self._jumps = joints, jumps
        self._last: TrackedState | None = None
        # Arrival of the last accepted state, ns.
        self._now = 0
        self._candidate: _Candidate | None = None
        self._followed: deque[bool] = deque(maxlen=_WINDOW)
        # Newest state that jumped, and arrivals, ns, of states that returned to the position of the jump before.
        self._jumped: tuple[int, Array] | None = None
        self._returns: deque[int] = deque(maxlen=_MIN_RETURNS)
        self.has_two_sources = False
        """Two sources publish these joints in turn; no state is accepted."""

    def update(self, stamp: int, positions: Array, *, now: int, commanding: bool = False) -> TrackedState:
        """Trusted state of a message.

        Args:
            stamp: ns, of the message; 0 for none, then the arrival is used.
            positions: (A,) rad or m, as reported by the driver.
            now: ns, arrival on a steady clock.
            commanding: a policy or a human commands the arm, so no other position is accepted.

        Raises:
            JointStateRejected: the state is unusable or implausible.
        """
        raw = self._checked(positions)
        if self._last is None:
            return self._accept(stamp, now, self._first_turn(raw))
        position = nearest_turn(raw, self._last.positions, self.joints.continuous)
        elapsed = _elapsed((self._last.stamp, self._now), (stamp, now))
        if not self._jumps:
            return self._follow(stamp, now, position, elapsed)
        motion = self._motion_time(elapsed, now)
        follows = self._reachable(position, self._last.positions, motion) and not self._is_at_candidate(raw)
        self._record_verdict(follows, now, raw, is_behind=elapsed < -MAX_STAMP_STEP_BACK)
        self._update_sources(now)
        if follows:
            state = self._follow(stamp, now, position, elapsed)
            if self.has_two_sources:
                raise self._two_sources(raw)
            self._decrement_candidate()
            return state
        jump = self._jump(position, motion)
        self._update_candidate(stamp, now, raw)
        if self.has_two_sources:
            raise self._two_sources(raw)
        if self._candidate is None or not self._candidate.persists:
            raise JointStateRejected("joint state jumped", jump)
        if commanding:
            raise JointStateRejected(
                "arm moved or driver restarted",
                f"{jump}; the states persist there: end the episode and the motion to accept them",
                moved=True,
            )
        return self._accept(stamp, now, self._first_turn(raw), relocated=True)

    def plausible_velocities(self, velocities: Array) -> Array:
        """Velocities (A,) rad/s, NaN if implausible: drivers that derive them report 100 rad/s at a seam."""
        return np.where(np.abs(velocities) <= self.joints.speed, velocities, np.nan)

    def forget(self) -> None:
        """Start again with the next state, at any position."""
        self._last, self._candidate, self.has_two_sources = None, None, False
        self._jumped = None
        self._followed.clear()
        self._returns.clear()

    def _checked(self, positions: Array) -> Array:
        joints = self.joints
        if np.shape(positions) != (joints.dim,):
            raise JointStateRejected(
                "unusable joint state", f"positions {positions}; need {joints.dim} numbers"
            )
        usable = np.abs(positions) <= FLOAT32_MAX
        if not usable.all():
            first = int(np.argmin(usable))
            raise JointStateRejected(
                "joint state out of range",
                f"{joints.names[first]} is {positions[first]:g}, which is not a finite float32; check its driver",
            )
        beyond = np.maximum(joints.lower - positions, positions - joints.upper) > TURN
        beyond &= ~joints.continuous
        if beyond.any():
            first = int(np.argmax(beyond))
            raise JointStateRejected(
                "joint state out of range",
                f"{joints.names[first]} is {positions[first]:g}, more than a turn outside its limits "
                f"{joints.lower[first]:.4g} to {joints.upper[first]:.4g}; check `unit` of the profile and the driver",
            )
        # A copy, because the caller may overwrite its array.
        return np.array(positions, dtype=np.float64)

    def _first_turn(self, raw: Array) -> Array:
        joints = self.joints
        return turn_inside(raw, joints.home, joints.lower, joints.upper, joints.continuous)

    def _motion_time(self, elapsed: int, now: int) -> int:
        """Time, ns, in which the arm can have moved; a difference of two clocks is no motion."""
        arrived = max(0, now - self._now)
        return min(abs(elapsed), arrived + ARRIVAL_JITTER)

    def _reachable(self, position: Array, before: Array, elapsed: int) -> bool:
        return bool((np.abs(position - before) <= self._reach(elapsed)).all())

    def _reach(self, elapsed: int) -> Array:
        return JUMP_MARGIN + self.joints.speed * (min(abs(elapsed), MAX_MOTION_TIME) * 1e-9)

    def _accept(self, stamp: int, now: int, position: Array, *, relocated: bool = False) -> TrackedState:
        self._last, self._now, self._candidate = TrackedState(stamp, position, relocated), now, None
        if relocated:
            self._followed.clear()
        return self._last

    def _follow(self, stamp: int, now: int, position: Array, elapsed: int) -> TrackedState:
        """Accept a state that follows from the last one; an older state is trusted, but does not become the last."""
        if -MAX_REORDERING < elapsed <= 0 and self._jumps:
            return TrackedState(stamp, position, False)
        self._last, self._now = TrackedState(stamp, position, False), now
        return self._last

    def _is_at_candidate(self, raw: Array) -> bool:
        """Return whether a state is nearer to the candidate than to the last accepted one.

        Otherwise a jump would look like motion as the last accepted state ages.
        """
        if self._candidate is None or self._last is None:
            return False
        far, near = (
            (np.abs(nearest_turn(raw, place, self.joints.continuous) - place) / self.joints.speed).max()
            for place in (self._last.positions, self._candidate.raw)
        )
        return bool(near < far)

    def _update_candidate(self, stamp: int, now: int, raw: Array) -> None:
        """Count a state that jumped for the candidate, or make it the new candidate."""
        candidate = self._candidate
        if candidate is not None:
            elapsed = _elapsed((candidate.stamp, candidate.now), (stamp, now))
            near = nearest_turn(raw, candidate.raw, self.joints.continuous)
            if self._reachable(near, candidate.raw, elapsed):
                candidate.add(stamp, now, near)
                return
        self._candidate = _Candidate(stamp, now, raw)

    def _decrement_candidate(self) -> None:
        """Count a state that follows from the last accepted one against the candidate."""
        if self._candidate is not None:
            self._candidate.count -= 1
            if self._candidate.count <= 0:
                self._candidate = None

    def _record_verdict(self, follows: bool, now: int, raw: Array, *, is_behind: bool) -> None:
        """Record whether a state follows from the last one in position and time."""
        last_followed = not self._followed or self._followed[-1]
        self._followed.append(follows and not is_behind)
        if follows:
            return
        if self._jumped is not None and last_followed:
            then, position = self._jumped
            near = nearest_turn(raw, position, self.joints.continuous)
            if self._reachable(near, position, now - then):
                self._returns.append(now)
        self._jumped = now, raw

    def _update_sources(self, now: int) -> None:
        followed = list(self._followed)
        changes = sum(a != b for a, b in itertools.pairwise(followed))
        returns = self._returns
        if returns and now - returns[-1] > _MAX_RETURN_GAP:
            returns.clear()
        many = len(returns) == _MIN_RETURNS and now - returns[0] <= _RETURNS_DURATION
        if changes >= _MIN_CHANGES or many:
            self.has_two_sources = True
        elif changes < _MAX_CHANGES_AFTER and not returns:
            self.has_two_sources = False

    def _jump(self, position: Array, elapsed: int) -> str:
        assert self._last is not None
        before, names = self._last.positions, self.joints.names
        moved = np.abs(position - before)
        worst = int(np.argmax(moved - self._reach(elapsed)))
        turn = ""
        if not self.joints.continuous[worst] and abs(moved[worst] - TURN) < JUMP_MARGIN:
            turn = "; that is a whole turn: if the joint turns without end, add it to `continuous_joints`"
        reach = self._reach(elapsed)[worst]
        remark = f"and can move {reach:.3f}" if moved[worst] > reach else "the position of the last jump"
        return (
            f"{names[worst]} moves from {before[worst]:.3f} to {position[worst]:.3f} in "
            f"{abs(elapsed) * 1e-9:.3f} s, {remark}{turn}"
        )

    def _two_sources(self, raw: Array) -> JointStateRejected:
        assert self._last is not None
        other = raw if self._candidate is None else self._candidate.raw
        worst = int(np.argmax(np.abs(other - self._last.positions)))
        return JointStateRejected(
            "two sources of joint states",
            f"{self.joints.names[worst]} is {self._last.positions[worst]:.3f} and {other[worst]:.3f} in turn; stop "
            "one of the publishing nodes",
            moved=True,
        )


def _elapsed(before: tuple[int, int], after: tuple[int, int]) -> int:
    """Time between two states, ns, each given as (stamp, arrival): by stamps where both have one."""
    return after[0] - before[0] if before[0] and after[0] else after[1] - before[1]
