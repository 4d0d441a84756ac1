"""Joint tracking: raw joint states of a driver in, trusted ones out.

Four things are wrong with the joint states of real drivers, and each commands an arm to a wrong place where it passes:

* joints that turn without end are reported in (-π, π], with a jump of a whole turn at the seam;
* single states are wrong: zeros of a driver that has not heard from its hardware, 1e308 of an uninitialised buffer;
* two nodes publish the same joints, at one rate or at two, by one clock or by two;
* a driver restarts, or an arm is moved while nothing measures it, and the states continue elsewhere.

The tracker unwraps the first, drops and counts the second, refuses the third, and reports the fourth: a position that
persists elsewhere is accepted while nothing commands the arm, as `relocated`.
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
"""Greatest value that messages and networks of this package can hold."""

JUMP_MARGIN = 0.05
"""rad or m; distance that is believed between two states whatever the time between: noise and jitter of stamps."""

LONGEST_MOTION = 500_000_000
"""ns; after a longer silence an arm may be no further away than after this."""

PERSISTENT_STATES = 5
"""States that agree with each other, so many more than those that agree with the last accepted one, make a place."""

PERSISTENT_TIME = 100_000_000
"""ns that those states must span; a burst of wrong states is shorter."""

ARRIVAL_JITTER = 30_000_000
"""ns by which stamps may be further apart than arrivals; beyond it they are of different clocks, and no motion."""

STAMP_SET_BACK = 100_000_000
"""ns by which the stamps of one source step back at most while its states come in turn with newer ones."""

CLOCK_SET_BACK = 1_000_000_000
"""ns; stamps that step back by more are of a clock that was set back, by less of a state out of order."""

_RECENT = 40
"""Newest verdicts by which alternation is recognised."""

_ALTERNATING = 16
"""Changes of verdict among those; wrong states that come at random are a third of all then, or more."""

_SETTLED = 8
"""Changes of verdict among those below which alternation has ended."""

_RETURNS = 40
"""Returns of jumped states to one place within `_RETURN_TIME` that make a second source, if it is slower by far."""

_RETURN_TIME = 2_000_000_000
"""ns."""

_RETURN_PAUSE = 250_000_000
"""ns without a return after which such a source has ended; several times the period of its returns."""


class JointStateRejected(ValueError):
    """A joint state that cannot be believed; the message names joint, values and remedy.

    Attributes:
        kind: name of its counter.
        moved: the position of the arm is not known any more, or is far from the last accepted one: who commands it
            must stop.
    """

    def __init__(self, kind: str, detail: str, *, moved: bool = False) -> None:
        super().__init__(detail)
        self.kind, self.moved = kind, moved


class TrackedState(NamedTuple):
    """Trusted joint state.

    Attributes:
        stamp: ns, that of the message; 0 from drivers that leave it empty.
        positions: (A,) rad or m, continuous joints without a seam.
        relocated: the arm cannot have moved here from the state before.
    """

    stamp: int
    positions: Array
    relocated: bool


class _Candidate:
    """Place where joint states persist that cannot follow from the last accepted one."""

    def __init__(self, stamp: int, now: int, raw: Array) -> None:
        self.stamp, self.now, self.raw = stamp, now, raw
        self.began, self.count = (stamp, now), 1

    def add(self, stamp: int, now: int, raw: Array) -> None:
        self.stamp, self.now, self.raw = stamp, now, raw
        self.count += 1

    @property
    def persists(self) -> bool:
        """Return whether enough states over enough time agree."""
        span = _elapsed(self.began, (self.stamp, self.now))
        return self.count >= PERSISTENT_STATES and abs(span) >= PERSISTENT_TIME


class JointTracker:
    """Follows the joint states of one arm.

    Args:
        joints: of the arm.
        jumps: check for jumps. False for simulators, whose resets put the arm elsewhere at once; range and turns are
            checked all the same.
    """

    def __init__(self, joints: TrackedJoints, *, jumps: bool = True) -> None:
        self.joints, self._jumps = joints, jumps
        self._last: TrackedState | None = None
        # Arrival of the last accepted state, ns.
        self._now = 0
        self._candidate: _Candidate | None = None
        self._verdicts: deque[bool] = deque(maxlen=_RECENT)
        # Newest state that jumped, and arrivals, ns, of those that came back to where the one before them jumped to.
        self._jumped: tuple[int, Array] | None = None
        self._returns: deque[int] = deque(maxlen=_RETURNS)
        self.alternates = False
        """Two sources publish these joints in turn; nothing is accepted meanwhile."""

    def update(self, stamp: int, positions: Array, *, now: int, commanding: bool = False) -> TrackedState:
        """The trusted state of a message.

        Args:
            stamp: ns, of the message; 0 for none, then arrival counts.
            positions: (A,) rad or m as the driver reports them.
            now: ns, arrival on a steady clock.
            commanding: a policy or a human commands the arm, so it cannot be accepted elsewhere.

        Raises:
            JointStateRejected: it cannot be used.
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
        self._note_verdict(follows, now, raw, is_behind=elapsed < -STAMP_SET_BACK)
        self._watch_alternation(now)
        if follows:
            state = self._follow(stamp, now, position, elapsed)
            if self.alternates:
                raise self._alternation(raw)
            self._weaken_candidate()
            return state
        jump = self._jump(position, motion)
        self._note_candidate(stamp, now, raw)
        if self.alternates:
            raise self._alternation(raw)
        if self._candidate is None or not self._candidate.persists:
            raise JointStateRejected("joint state jumped", jump)
        if commanding:
            raise JointStateRejected(
                "arm moved or driver restarted",
                f"{jump}; the states stay there: end the episode and the motion to accept them",
                moved=True,
            )
        return self._accept(stamp, now, self._first_turn(raw), relocated=True)

    def believable(self, velocities: Array) -> Array:
        """Velocities (A,) rad/s, NaN where no joint is so fast: drivers that derive them report 100 rad/s at a seam."""
        return np.where(np.abs(velocities) <= self.joints.speed, velocities, np.nan)

    def forget(self) -> None:
        """Begin again with the next state, wherever it is."""
        self._last, self._candidate, self.alternates = None, None, False
        self._jumped = None
        self._verdicts.clear()
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
                f"{joints.names[first]} is {positions[first]:g}, which is no finite float32; check its driver",
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
        # The caller may write over its array; what is compared with later must stay.
        return np.array(positions, dtype=np.float64)

    def _first_turn(self, raw: Array) -> Array:
        joints = self.joints
        return turn_inside(raw, joints.home, joints.lower, joints.upper, joints.continuous)

    def _motion_time(self, elapsed: int, now: int) -> int:
        """Time, ns, in which the arm can have moved: two clocks that differ give it no time to."""
        arrived = max(0, now - self._now)
        return min(abs(elapsed), arrived + ARRIVAL_JITTER)

    def _reachable(self, position: Array, before: Array, elapsed: int) -> bool:
        return bool((np.abs(position - before) <= self._reach(elapsed)).all())

    def _reach(self, elapsed: int) -> Array:
        return JUMP_MARGIN + self.joints.speed * (min(abs(elapsed), LONGEST_MOTION) * 1e-9)

    def _accept(self, stamp: int, now: int, position: Array, *, relocated: bool = False) -> TrackedState:
        self._last, self._now, self._candidate = TrackedState(stamp, position, relocated), now, None
        if relocated:
            self._verdicts.clear()
        return self._last

    def _follow(self, stamp: int, now: int, position: Array, elapsed: int) -> TrackedState:
        """Accept a state that follows from the last one; one that is older is trusted, but does not become the last."""
        if -CLOCK_SET_BACK < elapsed <= 0 and self._jumps:
            return TrackedState(stamp, position, False)
        self._last, self._now = TrackedState(stamp, position, False), now
        return self._last

    def _is_at_candidate(self, raw: Array) -> bool:
        """Return whether a state is nearer to the candidate than to the last accepted one.

        Otherwise a jump would turn into motion as the last accepted state grows old.
        """
        if self._candidate is None or self._last is None:
            return False
        far, near = (
            (np.abs(nearest_turn(raw, place, self.joints.continuous) - place) / self.joints.speed).max()
            for place in (self._last.positions, self._candidate.raw)
        )
        return bool(near < far)

    def _note_candidate(self, stamp: int, now: int, raw: Array) -> None:
        """Count a state that jumped towards the place where those before it are."""
        candidate = self._candidate
        if candidate is not None:
            elapsed = _elapsed((candidate.stamp, candidate.now), (stamp, now))
            near = nearest_turn(raw, candidate.raw, self.joints.continuous)
            if self._reachable(near, candidate.raw, elapsed):
                candidate.add(stamp, now, near)
                return
        self._candidate = _Candidate(stamp, now, raw)

    def _weaken_candidate(self) -> None:
        """A state that follows from the last accepted one speaks against the other place."""
        if self._candidate is not None:
            self._candidate.count -= 1
            if self._candidate.count <= 0:
                self._candidate = None

    def _note_verdict(self, follows: bool, now: int, raw: Array, *, is_behind: bool) -> None:
        """Note whether a state follows from the last one, in place and in time."""
        after_one_that_follows = not self._verdicts or self._verdicts[-1]
        self._verdicts.append(follows and not is_behind)
        if follows:
            return
        if self._jumped is not None and after_one_that_follows:
            then, place = self._jumped
            near = nearest_turn(raw, place, self.joints.continuous)
            if self._reachable(near, place, now - then):
                self._returns.append(now)
        self._jumped = now, raw

    def _watch_alternation(self, now: int) -> None:
        verdicts = list(self._verdicts)
        changes = sum(a != b for a, b in itertools.pairwise(verdicts))
        returns = self._returns
        if returns and now - returns[-1] > _RETURN_PAUSE:
            returns.clear()
        many = len(returns) == _RETURNS and now - returns[0] <= _RETURN_TIME
        if changes >= _ALTERNATING or many:
            self.alternates = True
        elif changes < _SETTLED and not returns:
            self.alternates = False

    def _jump(self, position: Array, elapsed: int) -> str:
        assert self._last is not None
        before, names = self._last.positions, self.joints.names
        moved = np.abs(position - before)
        worst = int(np.argmax(moved - self._reach(elapsed)))
        turn = ""
        if not self.joints.continuous[worst] and abs(moved[worst] - TURN) < JUMP_MARGIN:
            turn = "; that is a whole turn: if it turns without end, name it in `continuous_joints`"
        reach = self._reach(elapsed)[worst]
        why = f"and can move {reach:.3f}" if moved[worst] > reach else "where it jumped to before"
        return (
            f"{names[worst]} goes from {before[worst]:.3f} to {position[worst]:.3f} in "
            f"{abs(elapsed) * 1e-9:.3f} s, {why}{turn}"
        )

    def _alternation(self, raw: Array) -> JointStateRejected:
        assert self._last is not None
        other = raw if self._candidate is None else self._candidate.raw
        worst = int(np.argmax(np.abs(other - self._last.positions)))
        return JointStateRejected(
            "two sources of joint states",
            f"{self.joints.names[worst]} is {self._last.positions[worst]:.3f} and {other[worst]:.3f} in turn; stop "
            "one of the nodes that publish it",
            moved=True,
        )


def _elapsed(before: tuple[int, int], after: tuple[int, int]) -> int:
    """Time between two states, ns, each given as (stamp, arrival): by stamps where both have one."""
    return after[0] - before[0] if before[0] and after[0] else after[1] - before[1]
