"""Stage 1 from a data set: embed its episodes with a frozen VLA, train the RL token on the embeddings.

Both parts write intermediate results, so the same call continues an interrupted one:

    embeddings/<vla>-<choice>/   token_<task>.safetensors   token_<task>.json   work/

With the built-in VLA, ``out`` becomes a weights folder for `rlt_ros.vla.builtin.load_builtin`.
"""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from torch import Tensor

from rlt_ros.data.embeddings import EmbeddingFolder, EmbeddingSpec, Shard, embed
from rlt_ros.data.errors import DataError
from rlt_ros.data.source import DataSource
from rlt_ros.experiments.pretrain import PretrainSettings
from rlt_ros.experiments.progress import bar, steps
from rlt_ros.experiments.token_training import Drawn, TokenTrainer, encode_all
from rlt_ros.rlt.token_diagnostics import effective_rank, pairwise_cosine, reconstruction
from rlt_ros.rlt.token_readouts import load_readout
from rlt_ros.store.documents import read_json_object
from rlt_ros.store.lineage import fingerprint
from rlt_ros.store.parameters import ConfigError, build
from rlt_ros.store.storage import replacing
from rlt_ros.vla.builtin import BuiltinVLA
from rlt_ros.vla.protocol import VLA
from rlt_ros.vla.weights import INDEX, VLA_FILE, checksum, read_index, token_file

_HELD_OUT = 10
"""Share 1/n of the episodes that is held out for tests."""
_MAX_TEST_OBSERVATIONS = 512
"""Observations of the diagnostics."""
_SWEEP_BATCH = 64
"""Observations read at once."""


class EpisodeEmbeddings:
    """Embeddings of episodes, from their files. Implements `token_training.EmbeddingSource`."""

    def __init__(self, vla: VLA, shards: Sequence[Shard]) -> None:
        """Raises `DataError` without shards."""
        if not shards:
            raise DataError("no embeddings to train on")
        self._vla, self._shards = vla, list(shards)
        self._starts = np.cumsum([0, *(len(shard.embeddings) for shard in shards)])

    def __len__(self) -> int:
        """Number of observations."""
        return int(self._starts[-1])

    @property
    def vla(self) -> VLA:
        """The frozen VLA."""
        return self._vla

    def trained(self) -> None:
        """Return None: only the token is trained."""

    def draw(self, batch: int, generator: torch.Generator) -> Drawn:
        """Draw a random batch."""
        rows = torch.randint(len(self), (batch,), generator=generator).sort().values.numpy()
        return Drawn(*self.read(rows), None)

    def sweep(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Iterate over all observations once, in order."""
        for start in range(0, len(self), _SWEEP_BATCH):
            yield self.read(np.arange(start, min(start + _SWEEP_BATCH, len(self))))

    def read(self, rows: np.ndarray) -> tuple[Tensor, Tensor]:
        """Embeddings (n, M, D) and mask (n, M) of sorted rows."""
        owners = np.searchsorted(self._starts, rows, side="right") - 1
        parts, masks = [], []
        for owner in np.unique(owners):
            own = rows[owners == owner] - self._starts[owner]
            parts.append(self._shards[owner].embeddings[own])
            masks.append(self._shards[owner].mask[own])
        embeddings = torch.from_numpy(np.concatenate(parts).astype(np.float32))
        return embeddings, torch.from_numpy(np.concatenate(masks))


def run(
    out: Path,
    source: DataSource,
    vla: VLA,
    *,
    task: str,
    wanted: str = "",
    spec: EmbeddingSpec | None = None,
    seed: int = 0,
    overrides: Mapping[str, Mapping[str, Any]] | None = None,
    console: Console | None = None,
) -> dict[str, Any]:
    """Embed a data set and train its token; returns the report.

    Args:
        out: output folder.
        source: the data set.
        vla: VLA of the token.
        task: name of the token.
        wanted: selection of episodes, see `DataSource.selected`.
        choice: what of them the VLA is shown.
        seed: seed of weights, batches and dropout.
        overrides: section → key → value; only ``token`` is allowed.
        console: output of progress; standard error by default.

    Raises:
        ConfigError: a parameter is invalid, or the token was made with other data or parameters.
        DataError: no episode could be embedded.
    """
    started = time.monotonic()
    config = _config(overrides or {}, seed)
    console = console or Console(stderr=True)
    spec = spec or EmbeddingSpec()
    path, report, work = out / token_file(task), out / f"token_{task}.json", out / "work"
    _check_folder(out, vla, path, begun=report.exists() or any(work.glob(f"token_{task}-*")))
    names = source.selected(wanted)
    folder = EmbeddingFolder(out / "embeddings", vla, spec, source.container.origin)
    with bar(console, "embed episodes", len(names)) as advance:
        embedded = embed(source, folder, names, lambda name: advance(1, name))
    shards = folder.shards(frozenset(names))
    seen, unseen = _split(shards)
    made_of = fingerprint(
        json.dumps([folder.path.name, [(shard.name, shard.source) for shard in shards], str(config)]).encode()
    )
    if path.exists() and report.exists():
        finished = read_json_object(report)
        if finished.get("made_of") != made_of:
            raise ConfigError(
                f"{path}: was made of other episodes or parameters; remove it, or choose another --out"
            )
        return finished
    checkpoint = work / f"token_{task}-{made_of}.safetensors"
    checkpoint.parent.mkdir(parents=True, exist_ok=True)
    trainer = TokenTrainer(config, EpisodeEmbeddings(vla, seen))
    trainer.resume(checkpoint)
    with steps(console, f"train token {task}", config.steps, trainer.state.step) as show:
        trainer.run(checkpoint=checkpoint, progress=show)
    autoencoder = trainer.finish()
    autoencoder.encoder.save(path)
    result = {
        "token": str(path),
        "fingerprint": autoencoder.encoder.fingerprint,
        "vla": vla.fingerprint,
        "made_of": made_of,
        "episodes": {"seen": len(seen), "unseen": len(unseen)},
        "observations": sum(len(shard.embeddings) for shard in shards),
        "diagnostics": _diagnose(autoencoder, EpisodeEmbeddings(vla, unseen or seen)),
        "data": {**embedded, "source": source.container.origin, "layout": source.layout},
        "settings": {"token": dataclasses.asdict(config), "choice": dataclasses.asdict(spec)},
        "wall_seconds": time.monotonic() - started,
    }
    if isinstance(vla, BuiltinVLA):
        _make_weights_folder(out, vla)
    text = json.dumps(result, indent=2, sort_keys=True)
    with replacing(report) as part:
        part.write_text(text + "\n", encoding="utf-8")
    for checkpoint in work.glob(f"token_{task}-*"):
        checkpoint.unlink()
    # JSON types, as in the report of a repeated call.
    kept: dict[str, Any] = json.loads(text)
    return kept


def _config(overrides: Mapping[str, Mapping[str, Any]], seed: int) -> Any:
    foreign = sorted(overrides.keys() - {"token"})
    if foreign:
        raise ConfigError(
            f"pretrain --data trains the token alone; the sections {', '.join(foreign)} do not apply"
        )
    merged = {"token": {"seed": seed, **overrides.get("token", {})}}
    config = build(PretrainSettings, merged, origin="pretrain").token
    if config.vla_weight > 0:
        raise ConfigError("pretrain --data keeps the VLA frozen; token.vla_weight must be 0")
    return config


def _split(shards: Sequence[Shard]) -> tuple[list[Shard], list[Shard]]:
    """Episodes for training and held-out ones for tests."""
    unseen = [shard for index, shard in enumerate(shards) if index % _HELD_OUT == _HELD_OUT - 1]
    return [shard for index, shard in enumerate(shards) if index % _HELD_OUT != _HELD_OUT - 1], unseen


def _diagnose(autoencoder: Any, source: EpisodeEmbeddings) -> dict[str, float]:
    rows = np.unique(
        np.linspace(0, len(source) - 1, min(len(source), _MAX_TEST_OBSERVATIONS)).round().astype(np.int64)
    )
    embeddings, mask = source.read(rows)
    z = encode_all(autoencoder.encoder, [(embeddings, mask)])
    forced = reconstruction(autoencoder, embeddings, mask, context_dropout=0.0)
    alone = reconstruction(autoencoder, embeddings, mask, context_dropout=1.0)
    return {
        **{f"forced_{name}": value for name, value in forced.items()},
        **{f"alone_{name}": value for name, value in alone.items()},
        "pairwise_cosine": pairwise_cosine(z),
        "effective_rank": effective_rank(z),
    }


def _check_folder(out: Path, vla: VLA, token: Path, *, begun: bool) -> None:
    """Raise `ConfigError` if ``out`` holds another VLA, or a ``token`` that was not ``begun`` here."""
    if isinstance(vla, BuiltinVLA) and (out / VLA_FILE).exists():
        there = BuiltinVLA.load(out / VLA_FILE).fingerprint
        if there != vla.fingerprint:
            raise ConfigError(
                f"{out / VLA_FILE}: is another VLA ({there}) than the requested one ({vla.fingerprint}); name it with "
                f"--vla {out}, or choose another --out"
            )
    if token.exists() and not begun:
        raise ConfigError(
            f"{token}: was made by another command and would be overwritten; choose another --task or --out, or "
            "remove it"
        )


def _make_weights_folder(out: Path, vla: BuiltinVLA) -> None:
    """Save the VLA next to its tokens and update the index; its other entries stay."""
    if not (out / VLA_FILE).exists():
        vla.save(out / VLA_FILE)
    tokens = sorted(out.glob("token_*.safetensors"))
    index = {
        **(read_index(out) if (out / INDEX).exists() else {}),
        "files": {path.name: checksum(path) for path in (out / VLA_FILE, *tokens)},
        "lineage": {
            "vla": vla.fingerprint,
            **{path.stem: load_readout(path, vla=vla.fingerprint).fingerprint for path in tokens},
        },
    }
    with replacing(out / INDEX) as part:
        part.write_text(json.dumps(index, indent=2, sort_keys=True) + "\n", encoding="utf-8")
