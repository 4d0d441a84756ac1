"""Reader of the folder of a finished training run, with errors that name the faulty file.

============================  =====================================================================
``summary.json``              outcomes of base, demonstrator and RLT, ratios, budget, versions
``config.json``               every setting of the run, by section
``episodes.jsonl``            one line per episode: phase, success, steps, robot minutes so far
``metrics.jsonl``             one line per measurement of the learner: robot minutes and figures
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

from rlt_ros.learning.run_folder import (
    VIDEO_FOLDER,
    check_summary,
    of_phase,
    unaided,
)
from rlt_ros.store.documents import NUMBER, DocumentError, Kind, parse_json, require_keys

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
    """Unreadable run folder; the message names file, fault and remedy."""


@dataclass(frozen=True)
class Episodes:
    """Episodes of some phases, in order: arrays of length N."""

    success: npt.NDArray[np.bool_]
    steps: FloatArray
    """Control steps of the critical phase; 0 for a failed approach."""
    robot_minutes: FloatArray
    """Total critical-phase robot time at the end of the episode, min."""


@dataclass(frozen=True)
class Film:
    """Film of one start."""

    path: Path
    start: str
    """Number of the start and of all starts."""
    outcomes: tuple[tuple[str, str], ...]
    """Policies and their outcomes, from left to right."""


@dataclass(frozen=True)
class FinishedRun:
    """Files of a finished run."""

    folder: Path
    summary: Mapping[str, Any]
    config: Mapping[str, Any]
    metrics: Mapping[str, FloatArray]
    """Figures of the learner ``(N,)``, NaN if a line lacks one; ``robot_minutes`` is always present."""
    films: tuple[Film, ...]
    records: tuple[Mapping[str, Any], ...]

    def episodes(self, *phases: str) -> Episodes:
        """Episodes of ``phases``: all of training, and the counted ones of an evaluation."""
        if len(phases) == 1:
            chosen = of_phase(self.records, *phases)
        else:
            chosen = [record for record in self.records if record["phase"] in phases]
        return Episodes(
            np.array([unaided(record) for record in chosen], dtype=bool),
            np.array([record["steps"] for record in chosen], dtype=np.float64),
            np.array([record["robot_minutes"] for record in chosen], dtype=np.float64),
        )


def read_run(folder: Path) -> FinishedRun:
    """Read and check the folder of a finished run.

    Raises:
        RunError: the folder or one of its files is missing, truncated or incomplete.
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
    return FinishedRun(
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
            raise RunError(f"{where}: steps and robot_minutes are {numbers}, expected numbers of at least 0")
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
    """Existing films of the folder's index; empty without an index."""
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
