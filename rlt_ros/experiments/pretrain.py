"""Pretraining: record demonstrations, train the built-in VLA, train an RL token per task.

Every stage writes its result and training writes checkpoints, so the same call continues an interrupted one. ``out``
becomes a weights folder for `rlt_ros.vla.builtin.load_builtin`:

    demonstrations/<task>/*.safetensors   vla.safetensors   token_<task>.safetensors   pretrain.json
"""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from rlt_ros.data.demonstrations import load_folder
from rlt_ros.data.frames import Frames, split
from rlt_ros.experiments.pretrain_diagnostics import action_error, describe_frames, token_report
from rlt_ros.experiments.progress import bar, steps
from rlt_ros.experiments.token_training import CachedEmbeddings, TokenTrainer
from rlt_ros.experiments.vla_training import VLATrainer
from rlt_ros.rlt.token import TokenConfig
from rlt_ros.rlt.token_readouts import MeanPool, RandomProjection, Readout
from rlt_ros.robots.profile import DEFAULT_ROBOT, load_profile
from rlt_ros.store.documents import Kind, read_json_object, require_keys
from rlt_ros.store.parameters import ConfigError, build, check, parameter
from rlt_ros.store.storage import replacing
from rlt_ros.vla.builtin import BuiltinVLA, VLAConfig, VLATrainingConfig
from rlt_ros.vla.weights import INDEX, VLA_FILE, checksum, read_index, token_file

Recorder = Callable[[str, "range", Path, int, Callable[[], None]], None]
"""Function that records missing seeds of a task in several processes, with a callback per demonstration."""

_SETTINGS = "settings.json"
_WORK = "work"


@dataclasses.dataclass(frozen=True)
class PretrainConfig:
    """Demonstrations of a pretraining run."""

    robot: str = parameter(
        DEFAULT_ROBOT,
        help="Simulated robot of the demonstrations and of the VLA: a profile with a section `simulation`.",
    )
    tasks: tuple[str, ...] = parameter(("charger", "ethernet", "screw"), help="Tasks to learn.")
    demonstrations: int = parameter(250, help="Demonstrations per task.", low=2)
    first_seed: int = parameter(1000, help="Seed of the first demonstration; evaluation uses others.", low=0)
    held_out: int = parameter(10, help="Share 1/n of the demonstrations that is held out for tests.", low=2)
    cameras: tuple[str, ...] = parameter((), help="Cameras of the VLA; empty for all of the robot.")
    workers: int = parameter(0, help="Recording processes; 0 means one per core.", low=0)

    def __post_init__(self) -> None:
        """Check every value."""
        check(self)


@dataclasses.dataclass(frozen=True)
class PretrainSettings:
    """Parameters of a pretraining run, by section of the command line and of parameter files."""

    pretrain: PretrainConfig = dataclasses.field(default_factory=PretrainConfig)
    vla: VLAConfig = dataclasses.field(default_factory=VLAConfig)
    vla_training: VLATrainingConfig = dataclasses.field(default_factory=VLATrainingConfig)
    token: TokenConfig = dataclasses.field(default_factory=TokenConfig)


def run(
    out: Path,
    *,
    seed: int = 0,
    overrides: Mapping[str, Mapping[str, Any]] | None = None,
    recorder: Recorder | None = None,
    console: Console | None = None,
) -> dict[str, Any]:
    """Make a weights folder, or continue an earlier call; returns its index.

    Args:
        out: the folder.
        seed: seed of weights, batches and noise.
        overrides: section → key → value, sections as in `PretrainSettings`.
        recorder: source of demonstrations; the simulator's scripted demonstrator by default.
        console: output of progress; standard error by default.

    Raises:
        ConfigError: a parameter is unknown or out of range, or ``out`` was started with other ones.
    """
    settings = _settings(out, seed, overrides or {})
    if (out / INDEX).exists():
        return read_index(out)
    console = console or Console(stderr=True)
    started = time.monotonic()
    _record(out, settings.pretrain, recorder or partial(_simulate, settings.pretrain.robot), console)
    seen, unseen = _frames(out, settings.pretrain)
    vla = _train_vla(out, settings, seen, console)
    tokens = {
        task: _train_token(out, settings, vla, task, seen, unseen, console)
        for task in settings.pretrain.tasks
    }
    index = {
        "files": {
            name: checksum(out / name) for name in (VLA_FILE, *map(token_file, settings.pretrain.tasks))
        },
        "lineage": {
            "vla": vla.fingerprint,
            **{f"token_{task}": t["fingerprint"] for task, t in tokens.items()},
        },
        "data": {"seen": describe_frames(seen), "unseen": describe_frames(unseen)},
        "actions": action_error(vla, unseen, limit=512, chunk=settings.vla_training.chunk),
        "tokens": {task: t["diagnostics"] for task, t in tokens.items()},
        "settings": dataclasses.asdict(settings),
        "versions": {"torch": torch.__version__},
        "wall_seconds": time.monotonic() - started,
    }
    _write_json(out / INDEX, index)
    shutil.rmtree(out / _WORK, ignore_errors=True)
    return index


def _settings(out: Path, seed: int, overrides: Mapping[str, Mapping[str, Any]]) -> PretrainSettings:
    """Build the parameters of this run, which must be those with which ``out`` was started."""
    merged = {section: dict(values) for section, values in overrides.items()}
    for section in ("vla_training", "token"):
        merged.setdefault(section, {}).setdefault("seed", seed)
    settings = build(PretrainSettings, merged, origin="pretrain")
    if settings.token.vla_weight > 0:
        raise ConfigError(
            "pretrain: token.vla_weight is above 0, which would change the VLA for every task; set it to 0, or "
            "train one token with rlt_ros.experiments.token_training.LearningVLA"
        )
    if not settings.pretrain.cameras:
        cameras = tuple(load_profile(settings.pretrain.robot).cameras)
        settings = dataclasses.replace(
            settings, pretrain=dataclasses.replace(settings.pretrain, cameras=cameras)
        )
    # The number of processes does not change the result and may differ between calls.
    fixed = dataclasses.replace(settings, pretrain=dataclasses.replace(settings.pretrain, workers=0))
    text = json.dumps(dataclasses.asdict(fixed), sort_keys=True)
    file = out / _SETTINGS
    if file.exists() and file.read_text(encoding="utf-8") != text:
        raise ConfigError(f"{out}: was started with other parameters ({file}); use those, or another --out")
    out.mkdir(parents=True, exist_ok=True)
    with replacing(file) as part:
        part.write_text(text, encoding="utf-8")
    return settings


def _record(out: Path, config: PretrainConfig, recorder: Recorder, console: Console) -> None:
    seeds = range(config.first_seed, config.first_seed + config.demonstrations)
    for task in config.tasks:
        folder = out / "demonstrations" / task
        already = len(list(folder.glob("*.safetensors")))
        with bar(console, f"record {task}", len(seeds)) as advance:
            advance(min(already, len(seeds)), "")
            recorder(task, seeds, folder, config.workers or os.cpu_count() or 1, lambda: advance(1, ""))


def _simulate(
    robot: str, task: str, seeds: range, folder: Path, workers: int, on_recorded: Callable[[], None]
) -> None:
    from rlt_ros.sim.demonstrations import record

    record(task, seeds, folder, robot=robot, workers=workers, progress=on_recorded)


def _frames(out: Path, config: PretrainConfig) -> tuple[Frames, Frames]:
    """Frames of all tasks for training and held-out ones for tests."""
    demonstrations = [d for d in load_folder(out / "demonstrations") if d.task in config.tasks]
    seen, unseen = split(demonstrations, config.held_out)
    if not unseen:
        raise ConfigError(
            f"pretrain: held_out {config.held_out} holds out none of {config.demonstrations} "
            "demonstrations; lower it"
        )
    return Frames(seen, config.cameras), Frames(unseen, config.cameras)


def _train_vla(out: Path, settings: PretrainSettings, frames: Frames, console: Console) -> BuiltinVLA:
    path, checkpoint = out / VLA_FILE, out / _WORK / "vla_training.safetensors"
    if path.exists():
        return BuiltinVLA.load(path)
    trainer = VLATrainer(
        frames.demonstrations, settings.pretrain.cameras, settings.vla, settings.vla_training
    )
    trainer.resume(checkpoint)
    with steps(console, "train VLA", settings.vla_training.steps, trainer.state.step) as report:
        trainer.run(checkpoint=checkpoint, progress=report)
    vla = trainer.vla
    vla.save(path)
    return vla


def _train_token(
    out: Path,
    settings: PretrainSettings,
    vla: BuiltinVLA,
    task: str,
    seen: Frames,
    unseen: Frames,
    console: Console,
) -> dict[str, Any]:
    """Train a task's token; returns fingerprint and diagnostics, also of an earlier call."""
    path, report = out / token_file(task), out / _WORK / f"token_{task}.json"
    if path.exists() and report.exists():
        finished = read_json_object(report)
        kinds: Mapping[str, Kind] = {"fingerprint": str, "diagnostics": dict}
        require_keys(finished, kinds, origin=report, remedy="remove it to train the token again")
        return finished
    seen, unseen = (_of_task(frames, task) for frames in (seen, unseen))
    with bar(console, f"embed {task}", len(seen)) as advance:
        source = CachedEmbeddings(
            vla, seen, out / _WORK / f"embeddings_{task}", lambda count: advance(count, "")
        )
    checkpoint = out / _WORK / f"token_{task}_training.safetensors"
    trainer = TokenTrainer(settings.token, source)
    trainer.resume(checkpoint)
    with steps(console, f"train token {task}", settings.token.steps, trainer.state.step) as show:
        trainer.run(checkpoint=checkpoint, progress=show)
    autoencoder = trainer.finish()
    autoencoder.encoder.save(path)
    spec = vla.spec
    plain: dict[str, Readout] = {
        "mean": MeanPool(embed_dim=spec.embed_dim, tokens=spec.tokens, vla=vla.fingerprint),
        "random": RandomProjection(
            embed_dim=spec.embed_dim, tokens=spec.tokens, z_dim=settings.token.z_dim, vla=vla.fingerprint
        ),
    }
    for readout in plain.values():
        readout.fit_normalisation(source.sweep())
    readouts = {"rl_token": autoencoder.encoder, **plain}
    result = {
        "fingerprint": autoencoder.encoder.fingerprint,
        "diagnostics": token_report(vla, autoencoder, readouts, seen, unseen),
    }
    _write_json(report, result)
    return result


def _of_task(frames: Frames, task: str) -> Frames:
    return Frames([d for d in frames.demonstrations if d.task == task], frames.cameras)


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    with replacing(path) as part:
        part.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", encoding="utf-8")
