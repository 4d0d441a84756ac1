"""From nothing to weights: record demonstrations, train the built-in VLA, train an RL token for every task.

Every stage leaves a finished file behind and training leaves checkpoints, so the same call goes on wherever
it was stopped. ``out`` becomes a weights folder as `rlt_ros.vla.builtin.load_builtin` reads it:

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
from rlt_ros.rlt.documents import Kind, read_json_object, require_keys
from rlt_ros.rlt.parameters import ConfigError, build, check, parameter
from rlt_ros.rlt.storage import replacing
from rlt_ros.rlt.token import TokenConfig
from rlt_ros.rlt.token_readouts import MeanPool, RandomProjection, Readout
from rlt_ros.robots.profile import DEFAULT_ROBOT, load_profile
from rlt_ros.vla.builtin import BuiltinVLA, VLAConfig, VLATrainingConfig
from rlt_ros.vla.weights import INDEX, VLA_FILE, checksum, read_index, token_file

Recorder = Callable[[str, "range", Path, int, Callable[[], None]], None]
"""Records the seeds of a task that a folder lacks, in some processes, and calls back once a demonstration."""

_SETTINGS = "settings.json"
_WORK = "work"


@dataclasses.dataclass(frozen=True)
class PretrainConfig:
    """What is recorded, and for which tasks."""

    robot: str = parameter(
        DEFAULT_ROBOT,
        help="Robot that demonstrates, simulated: the VLA moves this one and no other. A profile with a section "
        "`simulation`.",
    )
    tasks: tuple[str, ...] = parameter(("charger", "ethernet", "screw"), help="Tasks to learn.")
    demonstrations: int = parameter(250, help="Demonstrations a task.", low=2)
    first_seed: int = parameter(1000, help="Seed of the first demonstration; evaluation uses others.", low=0)
    held_out: int = parameter(10, help="Every n-th demonstration measures and does not train.", low=2)
    cameras: tuple[str, ...] = parameter((), help="Cameras the VLA sees; none given, all of the robot.")
    workers: int = parameter(0, help="Recording processes; 0 means one a core.", low=0)

    def __post_init__(self) -> None:
        """Check every value."""
        check(self)


@dataclasses.dataclass(frozen=True)
class Settings:
    """All parameters of a pretraining run, by section of the command line and of parameter files."""

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
    """Make a weights folder; go on where an earlier call stopped; return the index that lies in it.

    Args:
        out: the folder.
        seed: of weights, batches and noise.
        overrides: section → key → value, sections as in `Settings`.
        recorder: where demonstrations come from; the simulator's scripted demonstrator by default.
        console: where progress is shown; standard error by default.

    Raises:
        ConfigError: a parameter is unknown or out of range, or ``out`` was begun with other ones.
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


def _settings(out: Path, seed: int, overrides: Mapping[str, Mapping[str, Any]]) -> Settings:
    """Parameters of this run, which must be those that ``out`` was begun with."""
    merged = {section: dict(values) for section, values in overrides.items()}
    for section in ("vla_training", "token"):
        merged.setdefault(section, {}).setdefault("seed", seed)
    settings = build(Settings, merged, origin="pretrain")
    if settings.token.vla_weight > 0:
        raise ConfigError(
            "pretrain: token.vla_weight is above 0, which would make another VLA for every task; "
            "train one token with rlt_ros.experiments.token_training.LearningVLA for that"
        )
    if not settings.pretrain.cameras:
        cameras = tuple(load_profile(settings.pretrain.robot).cameras)
        settings = dataclasses.replace(
            settings, pretrain=dataclasses.replace(settings.pretrain, cameras=cameras)
        )
    # The number of processes changes no result, so it may change between calls.
    fixed = dataclasses.replace(settings, pretrain=dataclasses.replace(settings.pretrain, workers=0))
    text = json.dumps(dataclasses.asdict(fixed), sort_keys=True)
    file = out / _SETTINGS
    if file.exists() and file.read_text(encoding="utf-8") != text:
        raise ConfigError(f"{out}: was begun with other parameters ({file}); use those, or another --out")
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
    """Frames to train on and frames to measure on, of all tasks."""
    demonstrations = [d for d in load_folder(out / "demonstrations") if d.task in config.tasks]
    seen, unseen = split(demonstrations, config.held_out)
    if not unseen:
        raise ConfigError(
            f"pretrain: held_out {config.held_out} keeps none of {config.demonstrations} "
            "demonstrations; lower it"
        )
    return Frames(seen, config.cameras), Frames(unseen, config.cameras)


def _train_vla(out: Path, settings: Settings, frames: Frames, console: Console) -> BuiltinVLA:
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
    out: Path, settings: Settings, vla: BuiltinVLA, task: str, seen: Frames, unseen: Frames, console: Console
) -> dict[str, Any]:
    """Token file, fingerprint and diagnostics of a task; finished work is read back."""
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
