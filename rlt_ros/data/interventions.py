"""Rows of an episode with a human at the controls, from the labels of AgiBot's data sets.

``take_over`` and ``intervention_info`` are in ``meta/info.json`` for each episode. Their form is not published, so all
forms of neighbouring labels in that file are accepted: segments with start and end frame (named or as pairs), and one
flag per frame. An episode with another form is left out, since rows of humans and of policies must not be mixed up.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rlt_ros.data.errors import EpisodeError

_STARTS = ("start_frame_index", "start_frame", "start")
_ENDS = ("end_frame_index", "end_frame", "end")


def human_rows(labels: Mapping[str, Any], episode: int, rows: int) -> NDArray[np.bool_]:
    """(T,) True for rows in which a human had taken over.

    Args:
        labels: ``info.json`` of the data set.
        episode: index of the episode.
        rows: number of rows T.

    Raises:
        EpisodeError: a label has an unknown form, or exceeds the episode.
    """
    human = np.zeros(rows, np.bool_)
    for key in ("take_over", "intervention_info"):
        label = labels.get(key)
        if isinstance(label, Mapping):
            label = label.get(str(episode))
        elif isinstance(label, list):
            label = label[episode] if episode < len(label) else None
        for first, last in _segments(label, rows, key):
            if not 0 <= first <= last < rows:
                raise EpisodeError(f"has {key} outside its rows")
            human[first : last + 1] = True
    return human


def _segments(label: Any, rows: int, key: str) -> Iterator[tuple[int, int]]:
    """First and last row of each segment."""
    if not label:
        return
    if isinstance(label, Mapping):
        start = next((label[name] for name in _STARTS if name in label), None)
        end = next((label[name] for name in _ENDS if name in label), None)
        if isinstance(start, int) and isinstance(end, int):
            yield start, end
            return
        nested = [value for value in label.values() if isinstance(value, list | Mapping) and value]
        if not nested and any(value not in (None, "", 0, False, [], {}) for value in label.values()):
            raise _unknown(key)
        for value in nested:
            yield from _segments(value, rows, key)
    elif not isinstance(label, list):
        raise _unknown(key)
    elif len(label) == rows and all(isinstance(flag, bool) or flag in (0, 1) for flag in label):
        yield from ((row, row) for row, flag in enumerate(label) if flag)
    elif len(label) == 2 and all(_is_index(value) for value in label):
        yield label[0], label[1]
    elif all(isinstance(value, list | Mapping) for value in label):
        for value in label:
            yield from _segments(value, rows, key)
    else:
        raise _unknown(key)


def _is_index(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _unknown(key: str) -> EpisodeError:
    return EpisodeError(f"has {key} in an unknown form")
