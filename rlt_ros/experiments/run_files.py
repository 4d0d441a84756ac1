"""Reads the folder that a training run leaves behind, and says what is wrong with one that it cannot read.

============================  =====================================================================
``summary.json``              outcomes of base, demonstrator and RLT, ratios, budget, versions
``config.json``               every setting of the run, by section
``episodes.jsonl``            one line an episode: phase, success, steps, robot minutes so far
``metrics.jsonl``             one line a measurement of the learner: robot minutes and its figures
``videos/films.json``         the films, one per start, with their outcomes; optional
============================  =====================================================================
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from rlt_ros.rlt.documents import NUMBER, DocumentError, Kind, parse_json, require_keys
from rlt_ros.rlt.run_folder import (
    VIDEO_FOLDER,
    check_summary,
    of_phase,
    unaided,
)

FloatArray = npt.NDArray[np.float64]

PHASES = ("warmup", "online", "eval_base", "eval_rlt", "demo")
EVALUATION_PHASE = {"base": "eval_base", "demo": "demo", "rlt": "eval_rlt"}


_REMEDY = "it is damaged, or of another version of rlt_ros"
_SHOWN: Mapping[str, Kind] = {
    "episode": int,
    "phase": str,
    "success": bool,
    # Their values are checked afterwards, together.
    "steps": (object, bool),
    "robot_minutes": (object, bool),
}
"""Keys of an episode that a report shows → kinds of their values."""


class RunError(ValueError):
    """A run folder that cannot be read; the message names the file, what is wrong and what to do."""


@dataclass(frozen=True)
class Episodes:
    """The episodes of some phases, in order: arrays of length N."""

    success: npt.NDArray[np.bool_]
    steps: FloatArray
    """Control steps of the critical phase; 0 of a failure that never came to it."""
    robot_minutes: FloatArray
    """Critical-phase robot time spent when the episode ended, in minutes."""


@dataclass(frozen=True)
class Film:
    """A film of one start."""

    path: Path
    start: str
    """Which start of how many."""
    outcomes: tuple[tuple[str, str], ...]
    """Policy and its outcome, from left to right."""


@dataclass(frozen=True)
class Run:
    """What a finished run has written."""

    folder: Path
    summary: Mapping[str, Any]
    config: Mapping[str, Any]
    metrics: Mapping[str, FloatArray]
    """Each figure of the learner ``(N,)``, NaN where a line has none; ``robot_minutes`` is always there."""
    films: tuple[Film, ...]
    records: tuple[Mapping[str, Any], ...]

    def episodes(self, *phases: str) -> Episodes:
        """The episodes of ``phases``: all of training's, and of each evaluation those that count."""
        if len(phases) == 1:
            chosen = of_phase(self.records, *phases)
        else:
            chosen = [record for record in self.records if record["phase"] in phases]
        return Episodes(
            np.array([unaided(record) for record in chosen], dtype=bool),
            np.array([record["steps"] for record in chosen], dtype=np.float64),
            np.array([record["robot_minutes"] for record in chosen], dtype=np.float64),
        )


def read_run(folder: Path) -> Run:
    """Read and check the folder of a finished run.

    Raises:
        RunError: the folder or one of its files is missing, cut off or lacks something.
    """
    if not folder.is_dir():
        raise RunError(f"{folder}: no such run folder; `rlt-ros train --out {folder}` makes one")
    summary_path = folder / "summary.json"
    if not summary_path.exists():
        raise RunError(
            f"{summary_path}: missing, so the run is not finished; repeat the command that started it"
        )
    summary = _object(summary_path, _read_text(summary_path), "")
    try:
        check_summary(summary, summary_path, remedy=_REMEDY)
    except DocumentError as error:
        raise RunError(str(error)) from error
    config_path = folder / "config.json"
    return Run(
        folder=folder,
        summary=summary,
        config=_object(config_path, _read_text(config_path), ""),
        metrics=_read_metrics(folder / "metrics.jsonl"),
        films=_films(folder / VIDEO_FOLDER),
        records=tuple(_read_episodes(folder / "episodes.jsonl")),
    )


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise RunError(f"{path}: missing; a run folder that was copied must be copied whole") from error
    except UnicodeDecodeError as error:
        raise RunError(
            f"{path}: not text ({error.reason} at byte {error.start}); the file is damaged"
        ) from error


def _object(path: Path, text: str, where: str) -> dict[str, Any]:
    try:
        value = parse_json(text, origin=f"{path}{where}")
    except DocumentError as error:
        raise RunError(str(error)) from error
    if not isinstance(value, dict):
        raise RunError(f"{path}{where}: expected a JSON object, found {type(value).__name__}")
    return value


def _require(mapping: Mapping[str, Any], kinds: Mapping[str, Kind], where: str) -> None:
    try:
        require_keys(mapping, kinds, origin=where, remedy=_REMEDY)
    except DocumentError as error:
        raise RunError(str(error)) from error


def _lines(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    for number, line in enumerate(_read_text(path).splitlines(), start=1):
        yield f"{path}: line {number}", _object(path, line, f": line {number}")


def _read_episodes(path: Path) -> Iterator[dict[str, Any]]:
    for where, record in _lines(path):
        _require(record, _SHOWN, where)
        if record["phase"] not in PHASES:
            raise RunError(f"{where}: phase {record['phase']!r}, expected one of {', '.join(PHASES)}")
        numbers = (record["steps"], record["robot_minutes"])
        if not all(_is_number(number) and number >= 0 for number in numbers):
            raise RunError(f"{where}: steps and robot_minutes are {numbers}, expected numbers from 0 on")
        _require(record, {"human_share": NUMBER}, where)
        yield record


def _read_metrics(path: Path) -> dict[str, FloatArray]:
    records = []
    for where, record in _lines(path):
        _require(record, {"robot_minutes": NUMBER}, where)
        records.append({key: value for key, value in record.items() if value is None or _is_number(value)})
    names = dict.fromkeys(["robot_minutes", *(key for record in records for key in record)])

    def value(record: Mapping[str, Any], name: str) -> float:
        return float(record[name]) if record.get(name) is not None else math.nan

    return {name: np.array([value(record, name) for record in records]) for name in names}


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _films(folder: Path) -> tuple[Film, ...]:
    """The films that the folder's index lists and that are there; none without an index."""
    index = folder / "films.json"
    if not index.exists():
        return ()
    try:
        entries = parse_json(_read_text(index), origin=str(index))
        films = [
            Film(
                folder / str(entry["file"]),
                str(entry["start"]),
                tuple((str(one["policy"]), str(one["outcome"])) for one in entry["outcomes"]),
            )
            for entry in entries
        ]
    except (ValueError, KeyError, TypeError) as error:
        raise RunError(f"{index}: is damaged ({error!r}); remove it, and the report has no films") from error
    return tuple(film for film in films if film.path.exists())
