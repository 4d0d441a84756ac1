"""Settings of a training run in simulation, next to those of the method (`rlt_ros.rlt.config`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from rlt_ros.rlt.config import RLTConfig
from rlt_ros.robots.profile import DEFAULT_ROBOT
from rlt_ros.store.parameters import ConfigError, build, check, parameter


@dataclass(frozen=True)
class TrainingConfig:
    """Settings of training, checkpoints and display of a run."""

    robot: str = parameter(
        DEFAULT_ROBOT,
        help="Simulated robot: a profile with a section `simulation`, for which the VLA was trained.",
    )
    start: str = parameter(
        "approach",
        help="Start of episodes: `approach` begins with the VLA's approach, `critical` resets directly before the "
        "critical phase, as the paper does first for its harder tasks.",
        choices=("approach", "critical"),
        source="arXiv:2604.23073",
    )
    operator: str = parameter(
        "scripted",
        help="Operator during training: `scripted` takes over if the actor makes no progress and finishes the task, "
        "`none` leaves the episode to its time-out. Evaluation is without operator.",
        choices=("scripted", "none"),
        source="the paper has a human operator",
    )
    checkpoint_every: int = parameter(
        5, help="Episodes between two checkpoints of the learner.", unit="episodes", low=1
    )
    metrics_every: int = parameter(
        200, help="Critic updates between two measurements of the learner.", unit="updates", low=1
    )
    rolling: int = parameter(20, help="Episodes in the rolling success rate.", unit="episodes", low=1)
    video_episodes: int = parameter(3, help="Episodes in each of the report's films; 0 makes none.", low=0)
    threads: int = parameter(1, help="Threads of PyTorch.", low=1)

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True)
class TrainingSettings:
    """Sections of a run's configuration."""

    rlt: RLTConfig
    run: TrainingConfig

    def as_dict(self) -> dict[str, dict[str, Any]]:
        """Section → key → value, for `config.json`."""
        return asdict(self)


def config_document(task: str, seed: int, vla: str, chosen: TrainingSettings) -> dict[str, Any]:
    """Content of a run's ``config.json``."""
    return {"task": task, "seed": seed, "vla": vla, **chosen.as_dict()}


_SECTIONS = {"rlt": RLTConfig, "run": TrainingConfig}


def build_settings(sections: Mapping[str, Mapping[str, Any]], *, origin: str) -> TrainingSettings:
    """Build all sections.

    Raises:
        ConfigError: a section or key is unknown, or a value is invalid; the message names the allowed ones.
    """
    unknown = sorted(set(sections) - set(_SECTIONS))
    if unknown:
        raise ConfigError(f"{origin}: unknown section '{unknown[0]}'; there are {', '.join(_SECTIONS)}")
    built: dict[str, Any] = {
        name: build(cls, sections.get(name, {}), origin=f"{origin}, section {name}")
        for name, cls in _SECTIONS.items()
    }
    return TrainingSettings(**built)
