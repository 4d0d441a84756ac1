"""Embeddings of a data set by a frozen VLA on disk: one finished file per episode, so that work can resume.

A folder belongs to one VLA and one selection of rows, whose fingerprint is part of its name, so that two never mix.
Embeddings are half precision, (n, M, D), and are read through memory maps.
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

from rlt_ros.data.episode import RecordedEpisode
from rlt_ros.data.errors import DataError, EmptyResultError, EpisodeError
from rlt_ros.data.source import DataSource
from rlt_ros.store.documents import DocumentError, Kind, read_json_file, read_json_object, require_keys
from rlt_ros.store.lineage import fingerprint
from rlt_ros.store.storage import replacing
from rlt_ros.vla.protocol import VLA, ObservationBatch, ObservationError

_BATCH = 16
MAX_HALF = 65504.0
"""Largest half-precision number."""


@dataclass(frozen=True)
class EmbeddingSpec:
    """Selection of an episode's rows and inputs for the VLA.

    Attributes:
        every: rows between two observations.
        joints: joints of the proprioception, by name; empty for all of the episode.
        cameras: camera of the VLA → camera of the data; others have the same name.
        instruction: replacement of the data's instruction; empty for none.
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
    """(n, M) False for padding."""
    source: str = ""
    """Fingerprint of the recording, see `rlt_ros.data.source.DataSource.fingerprint`."""


_META_KEYS: Mapping[str, Kind] = {"name": str, "source": str, "observations": int, "mask": str}


class EmbeddingFolder:
    """Shards of one VLA and one selection.

    Args:
        folder: parent folder; created if missing.
        vla: model of the embeddings.
        spec: selection of rows and inputs.
        origin: data set; episodes of different sets may have the same names.
    """

    def __init__(self, folder: Path, vla: VLA, spec: EmbeddingSpec, origin: str) -> None:
        key = json.dumps(
            [vla.fingerprint, spec.every, spec.joints, dict(spec.cameras), spec.instruction, origin]
        )
        self.path = folder / f"{vla.fingerprint}-{fingerprint(key.encode())}"
        self.path.mkdir(parents=True, exist_ok=True)
        self._vla, self._spec = vla, spec

    def done(self, name: str, source: str) -> bool:
        """True if the episode is embedded and its recording has the fingerprint ``source``."""
        try:
            kept: Any = read_json_file(self._meta(name))
        except DocumentError:
            return False
        return isinstance(kept, dict) and kept.get("source") == source

    def add(self, episode: RecordedEpisode, source: str) -> int:
        """Embed an episode whose recording has the fingerprint ``source``; return the number of observations.

        Raises:
            EpisodeError: the episode is unusable, or the VLA refuses it.
        """
        selection, spec = self._spec, self._vla.spec
        if selection.joints:
            episode = episode.select(selection.joints)
        episode = episode.rename_cameras(
            {camera: selection.cameras.get(camera, camera) for camera in spec.cameras}
        )
        rows = list(range(0, episode.rows, selection.every))
        target = self._meta(episode.name).with_suffix(".npy")
        # The file that it describes is about to be replaced.
        self._meta(episode.name).unlink(missing_ok=True)
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
                    [selection.instruction or episode.instruction] * len(batch),
                )
                try:
                    embeddings, mask = self._vla.embed(observations)
                except (ObservationError, ValueError) as error:
                    raise EpisodeError(f"is refused by the VLA ({error})") from error
                values = embeddings.detach().float().cpu().numpy()
                if not np.isfinite(values).all() or np.abs(values).max() > MAX_HALF:
                    raise EpisodeError("has embeddings that are not finite, or too large for half precision")
                stored[start : start + len(batch)] = values
                masks.append(mask.cpu().numpy())
            stored.flush()
            del stored
        meta = {
            "name": episode.name,
            "source": source,
            "observations": len(rows),
            "mask": _pack(np.concatenate(masks)),
        }
        # Written last, since it marks the other file as complete.
        with replacing(self._meta(episode.name)) as part:
            part.write_text(json.dumps(meta), encoding="utf-8")
        return len(rows)

    def shards(self, names: Collection[str] | None = None) -> list[Shard]:
        """Embedded episodes, sorted by name, optionally only some.

        Raises:
            DataError: a file has another shape than this VLA's embeddings.
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
            mask = _unpack(meta["mask"], shape[:2])
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
    """Embed new and changed episodes; unusable ones are counted.

    Raises:
        EmptyResultError: no episode is embedded in the end.
    """
    states = {name: source.fingerprint(name) for name in names}
    missing = [name for name in names if not folder.done(name, states[name])]
    observations = 0
    for episode in source.episodes(frozenset(missing)) if missing else ():
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
        "kept_from_before": len(names) - len(missing),
        "new_observations": observations,
        "skipped": source.skips.summary(),
        "notes": source.notes.summary(),
        "damage": source.container.damage,
    }


def _pack(mask: NDArray[np.bool_]) -> str:
    """Hexadecimal bits; empty without padding."""
    return "" if mask.all() else np.packbits(mask).tobytes().hex()


def _unpack(text: str, shape: tuple[int, int]) -> NDArray[np.bool_]:
    if not text:
        return np.ones(shape, np.bool_)
    bits = np.unpackbits(np.frombuffer(bytes.fromhex(text), np.uint8), count=shape[0] * shape[1])
    return bits.reshape(shape).astype(np.bool_)
