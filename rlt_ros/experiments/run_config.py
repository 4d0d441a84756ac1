"""Settings of a training run in simulation, beside the method's own (`rlt_ros.rlt.config`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from rlt_ros.rlt.config import RLTConfig
from rlt_ros.rlt.parameters import ConfigError, build, check, parameter
from rlt_ros.robots.profile import DEFAULT_ROBOT


@dataclass(frozen=True)
class RunConfig:
    """How a run is kept and shown."""

    robot: str = parameter(
        DEFAULT_ROBOT,
        help="Robot that learns, simulated: a profile with a section `simulation`. The VLA must know it.",
    )
    start: str = parameter(
        "approach",
        help="Where episodes begin: `approach` lets the VLA bring the tool near, `critical` resets right before the "
        "precise part, as the paper does first for its harder tasks.",
        choices=("approach", "critical"),
        source="arXiv:2604.23073",
    )
    operator: str = parameter(
        "scripted",
        help="Who watches the actor in training: `scripted` takes over where it has stopped getting on and finishes "
        "the job, `none` lets it run out of time. Evaluation is without operator.",
        choices=("scripted", "none"),
        source="the paper has a human at hand",
    )
    checkpoint_every: int = parameter(
        5, help="Episodes between two checkpoints of the learner.", unit="episodes", low=1
    )
    metrics_every: int = parameter(
        200, help="Critic updates between two measurements of the learner.", unit="updates", low=1
    )
    rolling: int = parameter(
        20, help="Episodes of the rolling success rate that is shown.", unit="episodes", low=1
    )
    video_episodes: int = parameter(3, help="Episodes in each of the report's films; 0 makes none.", low=0)
    threads: int = parameter(1, help="Threads of PyTorch.", low=1)

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True)
class Settings:
    """All sections of a run's configuration."""

    rlt: RLTConfig
    run: RunConfig

    def as_dict(self) -> dict[str, dict[str, Any]]:
        """Section → key → value, for `config.json`."""
        return asdict(self)


def run_settings(task: str, seed: int, vla: str, chosen: Settings) -> dict[str, Any]:
    """Content of a run's ``config.json``."""
    return {"task": task, "seed": seed, "vla": vla, **chosen.as_dict()}


_SECTIONS = {"rlt": RLTConfig, "run": RunConfig}


def settings(sections: Mapping[str, Mapping[str, Any]], *, origin: str) -> Settings:
    """Build every section; an unknown one, like an unknown key, is an error that names what is allowed."""
    unknown = sorted(set(sections) - set(_SECTIONS))
    if unknown:
        raise ConfigError(f"{origin}: unknown section '{unknown[0]}'; there are {', '.join(_SECTIONS)}")
    built: dict[str, Any] = {
        name: build(cls, sections.get(name, {}), origin=f"{origin}, section {name}")
        for name, cls in _SECTIONS.items()
    }
    return Settings(**built)
