"""Joint targets to the contents of a driver's message, and back. Nodes convert the records to messages.

The four kinds of record are those of `command.type` in the robot profile.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rlt_ros.robots.interface import WRAPPED, PartProfile
from rlt_ros.robots.turns import unwrapped, wrapped

Array = NDArray[np.float64]

# s; longer trajectories are cut. Motions of one arm are shorter.
_MAX_TRAJECTORY_DURATION = 60.0
_NO_JOINTS = np.zeros(0)


class CommandError(ValueError):
    """Command that cannot be written or read; the message gives the reason."""


@dataclass(frozen=True)
class NamedTargets:
    """`sensor_msgs/JointState`: positions (J,) in the driver's unit."""

    names: tuple[str, ...]
    positions: Array


@dataclass(frozen=True)
class TrajectoryPoint:
    """Positions (J,) and velocities (J,) in the driver's unit, ``time`` s after the start."""

    positions: Array
    velocities: Array
    time: float


@dataclass(frozen=True)
class Trajectory:
    """`trajectory_msgs/JointTrajectory`."""

    names: tuple[str, ...]
    points: tuple[TrajectoryPoint, ...]


@dataclass(frozen=True)
class Values:
    """`std_msgs/Float64MultiArray`: values (J,) in the driver's order and unit."""

    values: Array


@dataclass(frozen=True)
class GroupTargets:
    """`interbotix_xs_msgs/JointGroupCommand`: values (J,) in the driver's order and unit."""

    group: str
    values: Array


Record = NamedTargets | Trajectory | Values | GroupTargets


class CommandWriter:
    """Writer of the commands of one driver.

    Args:
        part: of the driver.
        period: s between two commands.
        continuous: joints that turn without end.
    """

    def __init__(self, part: PartProfile, period: float, continuous: Collection[str] = ()) -> None:
        self._part, self._period = part, period
        self._moved = np.array([part.command_joints.index(joint) for joint in part.joints], dtype=np.intp)
        self._held = np.array([part.command_joints.index(joint) for joint in part.held], dtype=np.intp)
        self._names = tuple(part.message_name(joint) for joint in part.command_joints)
        wraps = [joint in continuous and part.command.turns == WRAPPED for joint in part.command_joints]
        self._wraps = np.array(wraps, dtype=bool)
        self._row: Array | None = None

    def rest(self) -> None:
        """Start the next command from rest: its distance from the last one is no speed."""
        self._row = None

    def write(self, target: Array, held: Array = _NO_JOINTS) -> Record:
        """Command for joint targets.

        Args:
            target: (A,) rad, in the order of the part's joints.
            held: (H,) rad, targets of the other joints in a command, in the order of `PartProfile.held`.

        Raises:
            CommandError: the targets have a wrong shape or are not finite.
        """
        if target.shape != self._moved.shape or not np.isfinite(target).all():
            raise CommandError(f"a command needs {len(self._moved)} finite targets in rad, got {target}")
        if held.shape != self._held.shape or not np.isfinite(held).all():
            raise CommandError(
                f"a command must hold {', '.join(self._part.held) or 'no other joints'}, at finite positions in rad; "
                f"got {held}"
            )
        row = np.zeros(len(self._names))
        row[self._held], row[self._moved] = held, target
        # Velocities have no jump at the seam.
        before, self._row = row if self._row is None else self._row, row
        velocity = (row - before) / self._period
        return self._record(wrapped(row, self._wraps) / self._part.scale, velocity / self._part.scale)

    def _record(self, row: Array, velocity: Array) -> Record:
        kind = self._part.command.type
        if kind == "joint_state":
            return NamedTargets(self._names, row)
        if kind == "joint_trajectory":
            # A controller that starts from its last command passes the first point at full speed if the next command
            # replaces this one in time; otherwise it comes to rest at the second point.
            passing = TrajectoryPoint(row, velocity, self._period)
            rest = TrajectoryPoint(row, np.zeros_like(row), 2 * self._period)
            return Trajectory(self._names, (passing, rest))
        if kind == "forward":
            return Values(row)
        return GroupTargets(self._part.command.group, row)


def read_command(part: PartProfile, record: Record) -> tuple[list[str], Array]:
    """Joints by their own names, and the targets (J,) rad of a command, as its driver would read it.

    The target of a trajectory is its first point, one control period away.

    Raises:
        CommandError: the driver would refuse the command.
    """
    names, joint_names = [part.message_name(joint) for joint in part.command_joints], part.joint_names
    if isinstance(record, Trajectory):
        _check_trajectory(record, names)
        sent, values = record.names, record.points[0].positions
    elif isinstance(record, NamedTargets):
        sent, values = record.names, record.positions
    else:
        if isinstance(record, GroupTargets) and record.group != part.command.group:
            raise CommandError(f"the command is for group {record.group}, not {part.command.group}")
        sent, values = tuple(names), record.values
    if len(values) != len(sent):
        raise CommandError(f"the command has {len(values)} values for {len(sent)} joints")
    if not np.isfinite(values).all():
        raise CommandError(f"the values {values} of the command must be finite")
    return [joint_names.get(name, name) for name in sent], np.asarray(values, np.float64) * part.scale


def read_trajectory(
    part: PartProfile,
    record: Record,
    period: float,
    measured: Mapping[str, float],
    continuous: Collection[str] = (),
) -> tuple[list[str], Array]:
    """Joints by their own names, and the targets (K, J) rad of a command, one row per control period.

    Row k is the target at the end of control period k. A trajectory has one row per period of its duration, all other
    commands have one row.

    Args:
        part: of the driver.
        record: command.
        period: of control, s.
        measured: joint → position, rad, at the arrival of the command, as far as it is known; start of a trajectory.
        continuous: joints that turn without end; their targets are in the turn nearest to the measured position.

    Raises:
        CommandError: the command has no usable targets.
    """
    if not isinstance(record, Trajectory):
        names, targets = read_command(part, record)
        return names, _from_measured(names, targets[None], measured, continuous)
    joint_names = part.joint_names
    names = [joint_names.get(name, name) for name in record.names]
    times = [point.time for point in record.points]
    if not times or times[0] < 0 or any(late <= early for early, late in itertools.pairwise(times)):
        raise CommandError(
            f"the points of the trajectory are at {times} s; it needs at least one, each later than the last"
        )
    if any(point.positions.shape != (len(names),) for point in record.points):
        raise CommandError(f"every point of the trajectory must have {len(names)} positions, one per joint")
    positions = np.stack([point.positions for point in record.points]) * part.scale
    if not np.isfinite(positions).all():
        raise CommandError("the positions of the trajectory must be finite")
    positions = _from_measured(names, positions, measured, continuous)
    if times[0] > period:
        times.insert(0, 0.0)
        start = [measured.get(name, first) for name, first in zip(names, positions[0], strict=True)]
        positions = np.vstack([start, positions])
    rows = min(max(1, round(times[-1] / period)), round(_MAX_TRAJECTORY_DURATION / period))
    moments = period * np.arange(1, rows + 1)
    return names, np.stack([np.interp(moments, times, column) for column in positions.T], axis=1)


def _from_measured(
    names: Sequence[str], path: Array, measured: Mapping[str, float], continuous: Collection[str]
) -> Array:
    """Path (K, J) rad that continues from the measured positions without a jump at the seam of a continuous joint."""
    start = [measured.get(name, first) for name, first in zip(names, path[0], strict=True)]
    mask = np.array([name in continuous for name in names], dtype=bool)
    return unwrapped(np.vstack([start, path]), mask)[1:]


def _check_trajectory(trajectory: Trajectory, names: Sequence[str]) -> None:
    """Check the demands of a JointTrajectoryController of ros2_control."""
    if set(trajectory.names) != set(names):
        raise CommandError(f"a trajectory must have exactly the joints {', '.join(names)}")
    if not trajectory.points:
        raise CommandError("a trajectory without points stops the arm")
    width = len(trajectory.names)
    for point in trajectory.points:
        if len(point.positions) != width or len(point.velocities) not in (0, width):
            raise CommandError(
                f"every point of the trajectory must have {width} positions, and as many velocities or none"
            )
    times = [point.time for point in trajectory.points]
    if times[0] < 0 or any(late <= early for early, late in itertools.pairwise(times)):
        raise CommandError(f"the points of the trajectory are at {times} s; each must be later than the last")
    if np.any(trajectory.points[-1].velocities):
        raise CommandError("the velocities at the last point of the trajectory must be 0")
