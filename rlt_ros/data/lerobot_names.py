"""Names of the elements of LeRobot's vectors, and pairing of state and action elements.

Elements are paired by name. Position only counts if neither vector has names; a vector with names is never paired with
one without.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rlt_ros.data.episode import FloatArray, Note
from rlt_ros.data.errors import DataError, EpisodeError

# No arm has as many joints; a wider vector contains fields.
_MAX_UNNAMED = 32
_NOT_POSITIONS = (".vel", ".eff", ".effort", ".torque", ".cur", ".current", ".temp")
_POSE = frozenset(["x", "y", "z", "roll", "pitch", "yaw", "rx", "ry", "rz", "qx", "qy", "qz", "qw", "w"])
_DELTA = re.compile(r"(^|[._ /])(delta|d)[._ /]?(x|y|z|roll|pitch|yaw|rx|ry|rz)$|^delta", re.IGNORECASE)
MAX_POSITION_RAD = 4 * np.pi
"""Two turns; no joint of known arms exceeds them."""
MAX_UNIT_RATIO = 4.0
"""Ratio of gripper state and action sizes above which their units differ."""
MIN_MOTION = 1e-3
"""rad or m; a joint with less motion counts as still."""
MAX_CHANGE_SHARE = 0.1
"""Share of the distance to the state below which an action counts as the state's change."""
MIN_CHANGE_CORRELATION, MAX_STATE_CORRELATION = 0.8, 0.5
"""Correlations with the state's change and with the state that make an action of another unit a change."""
MIN_ROWS = 16
"""Rows of a meaningful correlation."""


def element_names(names: Any, width: int, where: str) -> list[str] | None:
    """Names of the elements of a vector, from a feature's ``names`` in any nesting.

    Returns:
        None without names, or with one for the whole vector.

    Raises:
        DataError: the number of names is wrong, or two are equal.
    """
    found = list(_flat(names, ()))
    if not found or (len(found) == 1 and width > 1):
        return None
    if len(found) != width:
        raise DataError(
            f"{where}: `names` has {len(found)} entries for {width} elements; correct it in meta/info.json"
        )
    plain = [path[-1] for path in found]
    # `joint1` of two arms.
    if len(set(plain)) < width:
        plain = ["_".join(path) for path in found]
    twice = [name for name, count in Counter(plain).items() if count > 1]
    if twice:
        raise DataError(f"{where}: `names` has {twice[0]!r} twice; correct it in meta/info.json")
    return plain


def _flat(names: Any, above: tuple[str, ...]) -> Any:
    if isinstance(names, Mapping):
        # Name → index.
        if names and all(isinstance(index, int) for index in names.values()):
            names = sorted(names, key=lambda name: names[name])
        else:
            for key, group in names.items():
                yield from _flat(group, (*above, str(key)))
            return
    if isinstance(names, list | tuple):
        for name in names:
            yield from _flat(name, above)
    elif names is not None:
        yield (*above, str(names))


class JointPairs:
    """Pairing of the elements of state and action.

    Args:
        state: names of the state's elements; None without names.
        action: names of the action's elements; None without names.
        widths: number of elements of both.
        joints: names for vectors without names.
        where: name of the data set in messages.
    """

    def __init__(
        self,
        state: Sequence[str] | None,
        action: Sequence[str] | None,
        widths: tuple[int, int],
        joints: Sequence[str],
        where: str,
    ) -> None:
        """Raise `DataError` if the names do not pair the elements."""
        self.notes: list[Note] = []
        state, action = self._named(state, action, widths, joints, where)
        delta = [name for name in action if _DELTA.search(name)]
        if delta:
            raise DataError(
                f"{where}: the action has changes of a pose ({', '.join(delta)}), not joint targets; name a feature of "
                "joint targets with --action-key"
            )
        self.names = tuple(name.removesuffix(".pos") for name in action)
        self._position = self._places(state, where)
        speeds = {
            name.removesuffix(".vel"): index for index, name in enumerate(state) if name.endswith(".vel")
        }
        self._velocity = [speeds[name] for name in self.names] if set(self.names) <= speeds.keys() else None
        self.poses = _poses(self.names)
        if self.poses:
            detail = f"{', '.join(self.poses)}; use another --action-key and --state-key for joints"
            self.notes.append(("has poses where joint positions in rad are expected", detail))

    def _named(
        self,
        state: Sequence[str] | None,
        action: Sequence[str] | None,
        widths: tuple[int, int],
        joints: Sequence[str],
        where: str,
    ) -> tuple[list[str], list[str]]:
        if joints:
            given = [
                list(joints) if names is None and width == len(joints) else names
                for names, width in zip((state, action), widths, strict=True)
            ]
            state, action = given
        if state is None and action is None and widths[0] == widths[1] <= _MAX_UNNAMED:
            self.notes.append(
                ("has no names; state and action are paired by position", "name them with --joint-names")
            )
            state = action = [f"joint_{index}" for index in range(widths[1])]
        for names, width, what in ((state, widths[0], "state"), (action, widths[1], "action")):
            if names is None:
                raise DataError(
                    f"{where}: the {what} has {width} elements without names or field_descriptions; give them "
                    "with --joint-names or --fields FILE (docs/how-to/data.md)"
                )
        assert state is not None and action is not None
        return list(state), list(action)

    def _places(self, state: Sequence[str], where: str) -> list[int]:
        positions = [
            (name.removesuffix(".pos"), index)
            for index, name in enumerate(state)
            if not name.endswith(_NOT_POSITIONS)
        ]
        at = dict(positions)
        lacking = [name for name in self.names if name not in at]
        if lacking:
            raise DataError(
                f"{where}: the state ({', '.join(state)}) has no {', '.join(lacking)}, which the action commands; name "
                "features with the same joints with --state-key and --action-key"
            )
        if len(at) < len(positions):
            twice = [name for name, count in Counter(name for name, _ in positions).items() if count > 1]
            raise DataError(f"{where}: the state has {twice[0]!r} twice; correct `names` in meta/info.json")
        return [at[name] for name in self.names]

    def state(self, vectors: NDArray[Any]) -> tuple[FloatArray, FloatArray | None]:
        """Positions (T, A), and velocities if the state contains them."""
        vectors = vectors.astype(np.float32)
        return vectors[:, self._position], None if self._velocity is None else vectors[:, self._velocity]

    def unit_notes(self, position: FloatArray, command: FloatArray) -> list[Note]:
        """Notes on values (T, A) that seem to have other units than rad and m."""
        notes = list(self.notes)
        size = np.maximum(np.abs(position).max(axis=0), np.abs(command).max(axis=0))
        far = [
            f"{name} reaches {value:.4g}"
            for name, value in zip(self.names, size, strict=True)
            if value > MAX_POSITION_RAD and not is_gripper(name) and name not in self.poses
        ]
        if far:
            notes.append(
                ("has values beyond two turns (degrees?) where rad are expected", ", ".join(far[:3]))
            )
        for index, name in enumerate(self.names):
            sizes = [float(np.abs(values[:, index]).max()) for values in (position, command)]
            if is_gripper(name) and max(sizes) > max(MAX_UNIT_RATIO * min(sizes), 1.05):
                detail = f"{name}: state up to {sizes[0]:.4g}, action up to {sizes[1]:.4g}"
                notes.append(("has a gripper whose state and action differ in unit", detail))
        return notes

    def check_targets(self, position: FloatArray, command: FloatArray) -> None:
        """Raise `EpisodeError` if commands (T, A) are changes of the positions instead of targets."""
        if len(position) < 3:
            return
        change = np.diff(position, axis=0)
        moving = np.ptp(position, axis=0) > MIN_MOTION
        as_change = np.abs(command[:-1] - change).mean(axis=0)
        as_target = np.abs(command[:-1] - position[:-1]).mean(axis=0)
        odd = moving & (
            (as_change < MAX_CHANGE_SHARE * as_target) | _scaled_changes(position, command, change)
        )
        if 2 * odd.sum() > moving.sum():
            named = ", ".join(name for name, is_odd in zip(self.names, odd, strict=True) if is_odd)
            raise EpisodeError(
                "has actions that are changes of the state, not targets",
                f"{named}; name a feature of targets with --action-key",
            )


def _scaled_changes(position: FloatArray, command: FloatArray, change: FloatArray) -> NDArray[np.bool_]:
    """(A,) elements whose commands follow the state's change in another unit, far from the state itself."""
    if len(change) < MIN_ROWS:
        return np.zeros(position.shape[1], np.bool_)
    far = np.abs(command.mean(axis=0) - position.mean(axis=0)) > np.ptp(position, axis=0)
    like_change = _correlation(command[:-1], change) > MIN_CHANGE_CORRELATION
    return far & like_change & (_correlation(command[:-1], position[:-1]) < MAX_STATE_CORRELATION)


def _correlation(one: FloatArray, other: FloatArray) -> NDArray[np.float64]:
    """(A,) correlations of columns; 0 for a constant one."""
    one, other = one - one.mean(axis=0, dtype=np.float64), other - other.mean(axis=0, dtype=np.float64)
    size = np.sqrt((one**2).sum(axis=0) * (other**2).sum(axis=0))
    return np.divide((one * other).sum(axis=0), size, out=np.zeros(len(size)), where=size > 0)


def is_gripper(name: str) -> bool:
    """True for elements of grippers, whose units differ between data sets."""
    return "grip" in name.lower()


def _poses(names: Sequence[str]) -> list[str]:
    """Elements of poses: those with an x, y or z next to them. A ``wrist_roll`` alone is a joint."""
    split = {name: re.split(r"[._ /]", name.lower()) for name in names}
    homes = {tuple(parts[:-1]) for parts in split.values() if parts[-1] in ("x", "y", "z")}
    return [name for name, parts in split.items() if parts[-1] in _POSE and tuple(parts[:-1]) in homes]
