"""Embeddings of a data set by a frozen VLA, kept on disk: a finished file an episode, so that work can be stopped.

A folder belongs to one VLA and one way of choosing rows; a fingerprint in its name says which, so that two never mix.
Embeddings are half precision, (n, M, D), and are read back through memory maps.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from rlt_ros.data.episode import Episode
from rlt_ros.data.errors import DataError, EmptyResultError, EpisodeError
from rlt_ros.data.source import DataSource
from rlt_ros.rlt.documents import DocumentError, Kind, read_json_file, read_json_object, require_keys
from rlt_ros.rlt.lineage import fingerprint
from rlt_ros.rlt.storage import replacing
from rlt_ros.vla.protocol import VLA, ObservationBatch, ObservationError

_BATCH = 16
_LIMIT = 65504.0  # largest half-precision number


@dataclass(frozen=True)
class Choice:
    """What of an episode the VLA is shown.

    Attributes:
        every: rows from one observation to the next.
        joints: joints of its proprioception, by name; empty for all of the episode.
        cameras: camera of the VLA → camera of the data; those not named have the same name.
        instruction: what to tell it instead of what the data says.
    """

    every: int = 5
    joints: tuple[str, ...] = ()
    cameras: Mapping[str, str] = field(default_factory=dict)
    instruction: str = ""

    def __post_init__(self) -> None:
        """Refuse a stride below one."""
        if self.every < 1:
            raise DataError(f"every {self.every} rows: must be at least 1")


@dataclass(frozen=True)
class Shard:
    """Embeddings of one episode."""

    name: str
    embeddings: NDArray[np.float16]
    """(n, M, D), mapped."""
    mask: NDArray[np.bool_]
    """(n, M) False where a token is padding."""
    source: str = ""
    """Fingerprint of the recording, see `rlt_ros.data.source.DataSource.fingerprint`."""


_META_KEYS: Mapping[str, Kind] = {"name": str, "source": str, "observations": int, "mask": str}


class EmbeddingFolder:
    """The shards of one VLA and one choice.

    Args:
        folder: where they are; made when missing.
        vla: whose embeddings.
        choice: of what.
        origin: which data set; episodes of different sets may have the same names.
    """

    def __init__(self, folder: Path, vla: VLA, choice: Choice, origin: str) -> None:
        what = json.dumps(
            [vla.fingerprint, choice.every, choice.joints, dict(choice.cameras), choice.instruction, origin]
        )
        self.path = folder / f"{vla.fingerprint}-{fingerprint(what.encode())}"
        self.path.mkdir(parents=True, exist_ok=True)
        self._vla, self._choice = vla, choice

    def done(self, name: str, source: str) -> bool:
        """Return whether the episode is embedded as it is now: its recording has the fingerprint ``source``."""
        try:
            kept: Any = read_json_file(self._meta(name))
        except DocumentError:
            return False
        return isinstance(kept, dict) and kept.get("source") == source

    def add(self, episode: Episode, source: str) -> int:
        """Embed an episode, whose recording has the fingerprint ``source``; returns the number of observations.

        Raises:
            EpisodeError: it cannot be used, or the VLA cannot take it.
        """
        choice, spec = self._choice, self._vla.spec
        if choice.joints:
            episode = episode.select(choice.joints)
        episode = episode.rename_cameras(
            {camera: choice.cameras.get(camera, camera) for camera in spec.cameras}
        )
        rows = list(range(0, episode.rows, choice.every))
        target = self._meta(episode.name).with_suffix(".npy")
        self._meta(episode.name).unlink(missing_ok=True)  # what it describes is about to be replaced
        masks = []
        with replacing(target) as part:
            shape = (len(rows), spec.tokens, spec.embed_dim)
            stored = np.lib.format.open_memmap(part, "w+", np.float16, shape)
            frames = episode.frames(rows, spec.image_size)
            for start in range(0, len(rows), _BATCH):
                batch = rows[start : start + _BATCH]
                pictures = [next(frames) for _ in batch]
                observations = ObservationBatch(
                    {c: torch.from_numpy(np.stack([p[c] for p in pictures])) for c in spec.cameras},
                    torch.from_numpy(episode.proprio[batch]),
                    [choice.instruction or episode.instruction] * len(batch),
                )
                try:
                    embeddings, mask = self._vla.embed(observations)
                except (ObservationError, ValueError) as error:
                    raise EpisodeError(f"cannot be shown to the VLA ({error})") from error
                values = embeddings.detach().float().cpu().numpy()
                if not np.isfinite(values).all() or np.abs(values).max() > _LIMIT:
                    raise EpisodeError("has embeddings that are not finite, or too large for half precision")
                stored[start : start + len(batch)] = values
                masks.append(mask.cpu().numpy())
            stored.flush()
            del stored
        meta = {
            "name": episode.name,
            "source": source,
            "observations": len(rows),
            "mask": _packed(np.concatenate(masks)),
        }
        with replacing(self._meta(episode.name)) as part:  # last: it says that the other file is whole
            part.write_text(json.dumps(meta), encoding="utf-8")
        return len(rows)

    def shards(self, names: Collection[str] | None = None) -> list[Shard]:
        """What is embedded, sorted by name; of some episodes only.

        Raises:
            DataError: a file has not the shape that this VLA gives.
        """
        result = []
        spec = self._vla.spec
        for path in sorted(self.path.glob("*.json")):
            meta = read_json_object(path)
            require_keys(meta, _META_KEYS, origin=path, remedy="remove it to embed the episode again")
            if names is not None and meta["name"] not in names:
                continue
            file = path.with_suffix(".npy")
            try:
                embeddings = np.load(file, mmap_mode="r", allow_pickle=False)
            except (OSError, ValueError) as error:
                raise DataError(
                    f"{file}: cannot be read ({error}); remove {path} to embed it again"
                ) from error
            shape = (meta["observations"], spec.tokens, spec.embed_dim)
            if embeddings.shape != shape or embeddings.dtype != np.float16:
                raise DataError(
                    f"{file}: holds {embeddings.shape}, not {shape}; remove {path} to embed it again"
                )
            mask = _unpacked(meta["mask"], shape[:2])
            result.append(Shard(meta["name"], embeddings, mask, meta.get("source", "")))
        return sorted(result, key=lambda shard: shard.name)

    def _meta(self, name: str) -> Path:
        return self.path / f"{hashlib.sha256(name.encode()).hexdigest()[:24]}.json"


def embed(
    source: DataSource,
    folder: EmbeddingFolder,
    names: Sequence[str],
    advance: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """Embed the episodes that are not embedded yet, or have changed since; those that cannot be are counted.

    Raises:
        EmptyResultError: none is there in the end.
    """
    states = {name: source.fingerprint(name) for name in names}
    owed = [name for name in names if not folder.done(name, states[name])]
    observations = 0
    for episode in source.episodes(frozenset(owed)) if owed else ():
        count = source.skips.attempt(episode.name, lambda: folder.add(episode, states[episode.name]))  # noqa: B023
        observations += count or 0
        if advance is not None:
            advance(episode.name)
    embedded = sum(folder.done(name, states[name]) for name in names)
    if not embedded:
        raise EmptyResultError(f"{source.container.origin}: no episode could be embedded", source.reasons())
    return {
        "embeddings": str(folder.path),
        "episodes": embedded,
        "kept_from_before": len(names) - len(owed),
        "new_observations": observations,
        "skipped": source.skips.summary(),
        "notes": source.notes.summary(),
        "damage": source.container.damage,
    }


def _packed(mask: NDArray[np.bool_]) -> str:
    """Hexadecimal bits; empty where nothing is padding."""
    return "" if mask.all() else np.packbits(mask).tobytes().hex()


def _unpacked(text: str, shape: tuple[int, int]) -> NDArray[np.bool_]:
    if not text:
        return np.ones(shape, np.bool_)
    bits = np.unpackbits(np.frombuffer(bytes.fromhex(text), np.uint8), count=shape[0] * shape[1])
    return bits.reshape(shape).astype(np.bool_)
